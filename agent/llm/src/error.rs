//! What can go wrong with a model, in categories that a caller can act on.

use std::time::Duration;

use thiserror::Error;

use crate::Usage;

/// Why a model gave no complete answer.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{message}")]
pub struct ModelError {
    /// Category.
    pub kind: ModelErrorKind,
    /// What happened and what to do next. Never carries a key.
    pub message: String,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The HTTP status that said so, if one did.
    pub status: Option<u16>,
    /// What an answer that ends with it before its first event has cost.
    pub usage: Option<Box<Usage>>,
}

/// Categories of [`ModelError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// The agent's own configuration is wrong: its URL, its key file.
    Configuration,
    /// The provider does not accept the agent's key.
    Authentication,
    /// The provider does not accept the request.
    InvalidRequest,
    /// The conversation is longer than the model can read.
    ContextOverflow,
    /// The provider's content filter stopped the request or the answer.
    ContentFilter,
    /// Too many requests or no quota left.
    RateLimited,
    /// The provider is overloaded or broken.
    Overloaded,
    /// No connection to the provider.
    Unreachable,
    /// The provider was silent for too long.
    Timeout,
    /// The answer broke off.
    CutStream,
    /// The answer is not what the protocol allows.
    BadResponse,
}

impl ModelErrorKind {
    /// The category as metrics and traces see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Authentication => "authentication",
            Self::InvalidRequest => "invalid_request",
            Self::ContextOverflow => "context_overflow",
            Self::ContentFilter => "content_filter",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::CutStream => "cut_stream",
            Self::BadResponse => "bad_response",
        }
    }
}

impl ModelError {
    /// An error of `kind`.
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            status: None,
            usage: None,
        }
    }

    /// The message, as far as it may be logged: a provider that is not content with a request may repeat its words.
    pub fn loggable(&self) -> &str {
        if self.is_about_the_request() {
            "its words are left out, they may repeat the request"
        } else {
            &self.message
        }
    }

    /// Whether asking again may help, given that nothing of the answer has arrived.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ModelErrorKind::RateLimited
                | ModelErrorKind::Overloaded
                | ModelErrorKind::Unreachable
                | ModelErrorKind::CutStream
        )
    }

    /// Whether it is about what was asked, so that asking another model would not help.
    pub fn is_about_the_request(&self) -> bool {
        matches!(
            self.kind,
            ModelErrorKind::InvalidRequest | ModelErrorKind::ContextOverflow | ModelErrorKind::ContentFilter
        )
    }
}
