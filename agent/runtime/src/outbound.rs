//! HTTP to agents, services and webhooks: clients, keys, signatures, and bounds on what is read.
//!
//! Knows nothing of what is said. Goes where a URL says and nowhere else: a redirect is an answer.

mod signature;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{Rng, distr::Alphanumeric};
use reqwest::{
    Client, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use rockbot_http::ReadError;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::Context;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer of a service or a webhook.
const MAX_ANSWER: usize = 1 << 20;
/// Characters of a refusal that are passed on.
const MAX_WORDS: usize = 500;

/// The HTTP clients of an agent.
#[derive(Debug)]
pub(crate) struct Outbound(rockbot_http::Clients);

impl Default for Outbound {
    fn default() -> Self {
        Self(rockbot_http::Clients::new(|| {
            Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true)
        }))
    }
}

/// A request to a service or a webhook.
pub(crate) struct Post<'a> {
    pub(crate) url: &'a Url,
    pub(crate) body: &'a Value,
    /// Key that is sent.
    pub(crate) key_file: Option<&'a Path>,
    /// Key that signs.
    pub(crate) signing_key_file: Option<&'a Path>,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) is_json: bool,
    pub(crate) body: Vec<u8>,
}

impl Outbound {
    /// The client for `url`.
    ///
    /// # Errors
    /// In words, when it cannot be set up.
    pub(crate) async fn client(&self, url: &Url) -> Result<&Client, String> {
        let made = self.0.of(url).await;
        made.map_err(|error| format!("an HTTP client cannot be set up: {error}"))
    }

    /// Sends JSON on behalf of a request and reads what comes back, whatever its status. Whoever stops waiting ends it.
    ///
    /// # Errors
    /// In words, when nothing comes back.
    pub(crate) async fn post(&self, context: &Context, post: Post<'_>) -> Result<Reply, String> {
        let body = post.body.to_string();
        let mut headers = headers_of(context);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(file) = post.key_file {
            headers.insert(AUTHORIZATION, bearer(file)?);
        }
        let id = message_id();
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        insert(&mut headers, "webhook-id", &id);
        insert(&mut headers, "webhook-timestamp", &timestamp.to_string());
        if let Some(file) = post.signing_key_file {
            let signature = signature::sign(&read_key(file)?, &id, timestamp, body.as_bytes())?;
            insert(&mut headers, "webhook-signature", &signature);
        }
        let request = self.client(post.url).await?.post(post.url.clone());
        let response = request.headers(headers).body(body).send().await.map_err(cause)?;
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Ok(Reply {
            status: response.status(),
            is_json: kind.starts_with("application/json"),
            body: read(response).await?,
        })
    }
}

impl Reply {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a refusal says, cut to a length that a model or a log can bear.
    pub(crate) fn words(&self) -> String {
        let text: String = self.text().trim().chars().take(MAX_WORDS).collect();
        if text.is_empty() {
            format!("it answered {}", self.status)
        } else {
            format!("it answered {}: {text}", self.status)
        }
    }
}

/// What others learn of a request by its headers: its identity and its trace.
pub(crate) fn headers_of(context: &Context) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, "x-request-id", &context.request_id);
    rockbot_telemetry::inject(&mut headers);
    headers
}

/// Adds a header, unless its value cannot be one.
pub(crate) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::try_from(value);
    headers.extend(value.map(|value| (HeaderName::from_static(name), value)));
}

/// The value of `Authorization` with the key in `file`.
///
/// # Errors
/// In words, without the key.
pub(crate) fn bearer(file: &Path) -> Result<HeaderValue, String> {
    let key = read_key(file)?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
        .map_err(|_| "its key is no key: it must be one line of text".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Keys are read for every request: the kubelet replaces the file when its Secret changes. Where they are is for the log
/// alone.
fn read_key(file: &Path) -> Result<SecretString, String> {
    let key = std::fs::read_to_string(file).map_err(|error| {
        tracing::warn!("the key file {} cannot be read: {error}", file.display());
        "its key cannot be read; the agent's log has the details".to_owned()
    })?;
    match key.trim() {
        "" => Err("its key is empty".to_owned()),
        key => Ok(SecretString::from(key)),
    }
}

async fn read(response: Response) -> Result<Vec<u8>, String> {
    let read = rockbot_http::read(response, MAX_ANSWER).await;
    read.map_err(|error| match error {
        ReadError::Broken(error) => cause(error),
        error @ ReadError::TooLong(_) => error.to_string(),
    })
}

/// Why a request failed, in words for a model: what is beneath it names addresses and goes to the log alone.
pub(crate) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes: Vec<_> = rockbot_http::causes(&error).map(ToString::to_string).collect();
    tracing::warn!(causes = causes.join(": "), "{error}");
    if error.is_connect() {
        "it cannot be reached".to_owned()
    } else {
        "the connection to it broke".to_owned()
    }
}

fn message_id() -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from);
    format!("msg_{}", random.collect::<String>())
}
