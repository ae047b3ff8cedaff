//! From a provider's refusal to a [`ModelError`]. Reads no more of an error body than it needs.

use std::{error::Error, time::Duration};

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use crate::{ModelError, ModelErrorKind as Kind};

/// Longest error body that is read.
const MAX_BODY: usize = 64 << 10;

/// The error of a response whose status is no success.
pub(super) async fn read(mut response: Response) -> ModelError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_BODY {
            break;
        }
    }
    let mut error = classify(status, &Refusal::parse(&body));
    error.retry_after = retry_after;
    error
}

/// The error of a request that got no response.
pub(super) fn transport(error: reqwest::Error) -> ModelError {
    // A connection that times out was never made, so that the request can be sent again.
    let silent = error.is_timeout() && !error.is_connect();
    log(error);
    if silent {
        return silence();
    }
    ModelError::new(
        Kind::Unreachable,
        "the model provider cannot be reached; check model.baseUrl and the network",
    )
}

/// The error of a response that breaks off.
pub(super) fn transport_in_stream(error: reqwest::Error) -> ModelError {
    let silent = error.is_timeout();
    log(error);
    if silent {
        return silence();
    }
    ModelError::new(
        Kind::CutStream,
        "the connection to the model provider broke in the middle of its answer",
    )
}

fn silence() -> ModelError {
    ModelError::new(
        Kind::Timeout,
        "the model provider was silent for longer than model.timeoutSeconds",
    )
}

/// The causes go to the log alone: they name addresses that are no client's business.
fn log(error: reqwest::Error) {
    let error = error.without_url();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    warn!(causes = causes.join(": "), "{error}");
}

/// A provider that ignores `stream: true` answers with JSON; say so instead of finding no events in it.
pub(super) fn check_content_type(response: &Response) -> Result<(), ModelError> {
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        return Ok(());
    }
    let message = format!("the model provider answered with {kind:?} where a text/event-stream was asked for");
    Err(ModelError::new(Kind::BadResponse, message))
}

/// The error object in a body or in the middle of a stream.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Value,
}

impl Refusal {
    fn parse(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        Self::of(&body["error"])
    }

    /// Reads an error object; some providers give a mere string.
    pub(super) fn of(error: &Value) -> Self {
        match error {
            Value::String(message) => Self {
                message: message.clone(),
                ..Self::default()
            },
            other => serde_json::from_value(other.clone()).unwrap_or_default(),
        }
    }

    fn says(&self, word: &str) -> bool {
        self.code.as_str() == Some(word) || self.kind.as_deref() == Some(word)
    }
}

/// What a refusal means.
pub(super) fn classify(status: StatusCode, refusal: &Refusal) -> ModelError {
    let said = |fallback: &str| {
        if refusal.message.is_empty() {
            fallback.to_owned()
        } else {
            refusal.message.clone()
        }
    };
    match status.as_u16() {
        // The provider's own words are left out: OpenAI's repeat parts of the key.
        401 | 403 => ModelError::new(
            Kind::Authentication,
            format!("the model provider refused the agent's API key (HTTP {status}); check the Secret of model.apiKey"),
        ),
        429 if refusal.says("insufficient_quota") => ModelError::new(
            Kind::Authentication,
            "the agent's account at the model provider has no quota left; check its plan and billing",
        ),
        429 => ModelError::new(
            Kind::RateLimited,
            said("the model provider limits the rate of requests"),
        ),
        _ if refusal.says("context_length_exceeded") => ModelError::new(
            Kind::ContextOverflow,
            said("the conversation is longer than the model can read"),
        ),
        413 => ModelError::new(
            Kind::ContextOverflow,
            said("the conversation is larger than the provider accepts"),
        ),
        404 => ModelError::new(
            Kind::Configuration,
            format!(
                "the model provider does not know the model or the path: {}",
                said("HTTP 404")
            ),
        ),
        408 | 409 | 500..=599 => ModelError::new(
            Kind::Overloaded,
            format!("the model provider is overloaded or broken (HTTP {status})"),
        ),
        400..=499 => ModelError::new(Kind::InvalidRequest, said("the model provider refused the request")),
        _ => ModelError::new(
            Kind::BadResponse,
            format!("the model provider answered with HTTP {status}"),
        ),
    }
}

/// Seconds, as every model provider sends it; the form with a date is not used by any.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
