//! HTTP to a provider: clients, the key, the deadline of a response's head, and errors of the transport.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tracing::warn;
use url::Url;

use crate::{ModelError, ModelErrorKind as Kind, wire::Wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest error body that is read, and longest time for it: a fallback may be waiting.
const MAX_BODY: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// The HTTP clients of a process.
pub(crate) struct Clients(rockbot_http::Clients);

impl Default for Clients {
    fn default() -> Self {
        Self(rockbot_http::Clients::new(|| {
            Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true)
        }))
    }
}

impl Clients {
    async fn of(&self, url: &Url) -> Result<&Client, ModelError> {
        let made = self.0.of(url).await;
        made.map_err(|error| configuration(format!("cannot set up an HTTP client: {error}")))
    }

    /// Sends `body` and returns the head of an answer that is a stream.
    pub(super) async fn send(
        &self,
        wire: &dyn Wire,
        key: Option<&SecretString>,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, ModelError> {
        let mut headers = wire.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        rockbot_telemetry::inject(&mut headers);
        if let Some(key) = key {
            let (name, prefix) = wire.key_header();
            headers.insert(name, key_value(prefix, key)?);
        }
        let request = self.of(wire.url()).await?.post(wire.url().clone());
        let response = request.headers(headers).body(body).send();
        let response = tokio::time::timeout(timeout, response).await;
        let response = response.map_err(|_| silence())?.map_err(unreachable)?;
        if response.status().is_success() {
            check_content_type(&response).map(|()| response)
        } else {
            Err(refused(wire, response, timeout.min(BODY_TIMEOUT)).await)
        }
    }
}

fn key_value(prefix: &str, key: &SecretString) -> Result<HeaderValue, ModelError> {
    let mut value = HeaderValue::try_from(format!("{prefix}{}", key.expose_secret()))
        .map_err(|_| configuration("the file of the API key holds no key: it must be one line of text".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a key. That happens for every request: the kubelet replaces the file when its Secret changes, and a small file
/// in memory is cheaper to read than to watch.
pub(super) fn read_key(path: Option<&PathBuf>) -> Result<Option<SecretString>, ModelError> {
    let Some(path) = path else { return Ok(None) };
    let key = std::fs::read_to_string(path)
        .map_err(|error| configuration(format!("cannot read the API key file {}: {error}", path.display())))?;
    match key.trim() {
        "" => Err(configuration(format!("the API key file {} is empty", path.display()))),
        key => Ok(Some(SecretString::from(key))),
    }
}

/// The error of a response whose status is no success.
async fn refused(wire: &dyn Wire, mut response: Response, timeout: Duration) -> ModelError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > MAX_BODY {
                break;
            }
        }
    };
    // A status is enough to go on with; the words may be lost.
    let _ = tokio::time::timeout(timeout, read).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut error = wire.refusal(&body).into_error(Some(status));
    error.retry_after = retry_after.or(error.retry_after);
    error
}

/// The error of a request that got no response. Nothing of it was answered, so that it can be sent again.
fn unreachable(error: reqwest::Error) -> ModelError {
    log(error);
    ModelError::new(
        Kind::Unreachable,
        "the model provider cannot be reached; check model.baseUrl and the network",
    )
}

/// The error of a response that breaks off.
pub(super) fn broken(error: reqwest::Error) -> ModelError {
    log(error);
    ModelError::new(
        Kind::CutStream,
        "the connection to the model provider broke in the middle of its answer",
    )
}

/// The error of a provider that says nothing.
pub(super) fn silence() -> ModelError {
    ModelError::new(
        Kind::Timeout,
        "the model provider was silent for longer than model.timeoutSeconds",
    )
}

/// The causes go to the log alone: they name addresses that are no client's business.
fn log(error: reqwest::Error) {
    let error = error.without_url();
    let causes: Vec<_> = rockbot_http::causes(&error).map(ToString::to_string).collect();
    warn!(causes = causes.join(": "), "{error}");
}

/// A provider that ignores that a stream was asked for answers with JSON; say so instead of finding no events in it.
fn check_content_type(response: &Response) -> Result<(), ModelError> {
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

/// Seconds, as every model provider sends it; the form with a date is not used by any.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn configuration(message: String) -> ModelError {
    ModelError::new(Kind::Configuration, message)
}
