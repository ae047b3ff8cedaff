//! From a provider's refusal, in a status or in the middle of a stream, to a [`ModelError`]. Pure.

use std::time::Duration;

use reqwest::StatusCode;

use crate::{ModelError, ModelErrorKind as Kind};

/// How providers say that a conversation is too long, where no code of theirs does.
const OVERFLOW: [&str; 7] = [
    "maximum context length",
    "context length exceeded",
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum number of tokens",
    "exceeds the available context size",
    "exceeds the context window",
];

/// What a provider says about a request that it does not answer, its words reduced to what is acted upon.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Refusal {
    /// In words. May repeat parts of the request, and of its key.
    pub(crate) message: String,
    /// What the provider's codes mean, where they say more than the status.
    pub(crate) meaning: Option<Meaning>,
    /// When it wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

/// What a refusal may mean beyond its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The key is wrong or may not do this.
    Authentication,
    /// The account has nothing left.
    NoQuota,
    /// The conversation is too long.
    Overflow,
    /// The provider does not want to talk about it.
    Filtered,
    /// The model is not there.
    NotFound,
    /// Too many requests.
    RateLimited,
    /// Too much to do, or broken.
    Overloaded,
}

impl Refusal {
    /// A refusal in words and what its codes mean.
    pub(crate) fn new(message: impl Into<String>, meaning: Option<Meaning>) -> Self {
        Self {
            message: message.into(),
            meaning,
            retry_after: None,
        }
    }

    /// The error that the refusal is. A refusal in the middle of a stream has no status.
    pub(crate) fn into_error(self, status: Option<StatusCode>) -> ModelError {
        let meaning = self
            .meaning
            .or_else(|| self.by_words(status))
            .or_else(|| by_status(status));
        let Self {
            message, retry_after, ..
        } = self;
        let said = |fallback: &str| {
            if message.is_empty() {
                fallback.to_owned()
            } else {
                message.clone()
            }
        };
        let (kind, message) = match meaning {
            // The provider's own words are left out: some repeat parts of the key.
            Some(Meaning::Authentication) => (
                Kind::Authentication,
                "the model provider refused the agent's API key; check the Secret of model.apiKey".to_owned(),
            ),
            Some(Meaning::NoQuota) => (
                Kind::Authentication,
                "the agent's account at the model provider has no quota left; check its plan and billing".to_owned(),
            ),
            Some(Meaning::Overflow) => (
                Kind::ContextOverflow,
                said("the conversation is longer than the model can read"),
            ),
            Some(Meaning::Filtered) => (
                Kind::ContentFilter,
                said("the model provider's content filter refused the request"),
            ),
            Some(Meaning::NotFound) => (
                Kind::Configuration,
                format!(
                    "the model provider does not know the model or the path: {}",
                    said("HTTP 404")
                ),
            ),
            Some(Meaning::RateLimited) => (
                Kind::RateLimited,
                said("the model provider limits the rate of requests"),
            ),
            Some(Meaning::Overloaded) => (
                Kind::Overloaded,
                match status {
                    Some(status) => format!("the model provider is overloaded or broken (HTTP {status})"),
                    None => "the model provider is overloaded or broken".to_owned(),
                },
            ),
            None if status.is_none_or(|status| status.is_client_error()) => {
                (Kind::InvalidRequest, said("the model provider refused the request"))
            }
            None if status.is_some_and(|status| status.is_redirection()) => (
                Kind::BadResponse,
                "the model provider redirects, and the agent's key goes nowhere else; check model.baseUrl".to_owned(),
            ),
            None => (
                Kind::BadResponse,
                format!("the model provider answered with HTTP {}", status.unwrap_or_default()),
            ),
        };
        ModelError {
            retry_after,
            status: status.map(|status| status.as_u16()),
            ..ModelError::new(kind, message)
        }
    }

    /// Servers of open models have few codes; what they say is all there is.
    fn by_words(&self, status: Option<StatusCode>) -> Option<Meaning> {
        let may_overflow = status.is_none_or(|status| matches!(status.as_u16(), 400 | 413 | 422 | 500));
        let message = self.message.to_lowercase();
        (may_overflow && OVERFLOW.iter().any(|words| message.contains(words))).then_some(Meaning::Overflow)
    }
}

fn by_status(status: Option<StatusCode>) -> Option<Meaning> {
    match status?.as_u16() {
        401 | 403 => Some(Meaning::Authentication),
        402 => Some(Meaning::NoQuota),
        404 => Some(Meaning::NotFound),
        413 => Some(Meaning::Overflow),
        429 => Some(Meaning::RateLimited),
        408 | 409 | 500..=599 => Some(Meaning::Overloaded),
        _ => None,
    }
}
