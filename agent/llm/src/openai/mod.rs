//! Adapter for OpenAI chat completions, as served by OpenAI, Ollama, vLLM and anything compatible.
//!
//! Always asks for a stream. A refused request is asked again a few times while nothing of an answer has arrived; a
//! stream that breaks is never asked again, because its beginning is already with the client.

mod decode;
mod events;
mod refusal;

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use rand::Rng;
use reqwest::{
    Client, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use rockbot_agent_config::ModelConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::OnceCell;
use tracing::warn;
use url::Url;

use crate::{EventStream, Model, ModelError, ModelErrorKind, chat::ChatRequest};

const OPENAI: &str = "https://api.openai.com/v1";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to have a request accepted, the first included.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A provider that wants a longer pause is not waited for: the client gets its Retry-After instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A model behind the chat completions API.
pub struct OpenAi {
    /// Made with the first request: its TLS tables are memory that an idle agent does not need.
    http: OnceCell<Client>,
    idle: Duration,
    endpoint: Url,
    key_file: Option<PathBuf>,
    defaults: Defaults,
}

/// What the agent's configuration says where a request says nothing.
struct Defaults {
    model: String,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
}

impl OpenAi {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// When the base URL is no URL.
    pub fn new(config: &ModelConfig) -> Result<Self, ModelError> {
        let endpoint = endpoint(config.base_url.as_deref().unwrap_or(OPENAI))?;
        let defaults = Defaults {
            model: config.name.clone(),
            temperature: config.temperature,
            top_p: config.top_p,
            max_tokens: config.max_tokens,
        };
        Ok(Self {
            http: OnceCell::new(),
            idle: Duration::from_secs(config.timeout_seconds.into()),
            endpoint,
            key_file: config.api_key_file.clone(),
            defaults,
        })
    }

    async fn http(&self) -> Result<&Client, ModelError> {
        let make = async || {
            let mut http = Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(self.idle)
                .tcp_nodelay(true);
            if self.endpoint.scheme() == "http" {
                // Loading the system's certificates costs megabytes that a plain connection never needs.
                http = http.tls_certs_only([]);
            }
            http.build()
        };
        let made = self.http.get_or_try_init(make).await;
        made.map_err(|error| configuration(format!("cannot set up an HTTP client: {error}")))
    }

    async fn send(&self, body: Bytes) -> Result<Response, ModelError> {
        let mut request = self
            .http()
            .await?
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(authorization) = self.authorization()? {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(refusal::transport)?;
        if !response.status().is_success() {
            return Err(refusal::read(response).await);
        }
        refusal::check_content_type(&response)?;
        Ok(response)
    }

    /// The key is read for every request: the kubelet replaces the file when its Secret changes, and a small file in
    /// memory is cheaper to read than to watch.
    fn authorization(&self) -> Result<Option<HeaderValue>, ModelError> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let key = std::fs::read_to_string(path)
            .map(SecretString::from)
            .map_err(|error| configuration(format!("cannot read the API key file {}: {error}", path.display())))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret().trim())).map_err(|_| {
            configuration(format!(
                "{} holds no API key: it must be one line of text",
                path.display()
            ))
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn body(&self, request: &ChatRequest) -> Result<Bytes, ModelError> {
        let bounded = request.max_tokens.is_some() || request.max_completion_tokens.is_some();
        let max_tokens = if bounded { None } else { self.defaults.max_tokens };
        // OpenAI renamed the field and refuses the old name for new models; everyone else knows the old one only.
        let renamed = self.endpoint.host_str() == Some("api.openai.com");
        let body = Body {
            model: &self.defaults.model,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            temperature: self.defaults.temperature.filter(|_| request.temperature.is_none()),
            top_p: self.defaults.top_p.filter(|_| request.top_p.is_none()),
            max_tokens: max_tokens.filter(|_| !renamed),
            max_completion_tokens: max_tokens.filter(|_| renamed),
            request,
        };
        let body = serde_json::to_vec(&body);
        body.map(Bytes::from)
            .map_err(|error| ModelError::new(ModelErrorKind::InvalidRequest, error.to_string()))
    }
}

#[async_trait]
impl Model for OpenAi {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        let body = self.body(request)?;
        let mut attempt = 1;
        loop {
            let error = match self.send(body.clone()).await {
                Ok(response) => return Ok(events::of(response)),
                Err(error) => error,
            };
            let pause = pause(&error, attempt, rand::rng().random());
            warn!(attempt, kind = ?error.kind, retry_in = ?pause, "the model provider did not accept a request: {error}");
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }
}

/// What is sent: the client's request under the agent's own model name.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(flatten)]
    request: &'a ChatRequest,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// How long to wait before the next attempt, or `None` to give up. `dice` is from 0 to 1.
fn pause(error: &ModelError, attempt: u32, dice: f64) -> Option<Duration> {
    if !error.is_transient() || attempt >= ATTEMPTS {
        return None;
    }
    let pause = FIRST_PAUSE * 2u32.pow(attempt - 1);
    let pause = error.retry_after.unwrap_or_default() + pause.mul_f64(0.5 + dice / 2.0);
    (pause <= LONGEST_PAUSE).then_some(pause)
}

fn endpoint(base: &str) -> Result<Url, ModelError> {
    let invalid = |reason: &str| {
        configuration(format!(
            "baseUrl {base:?}: {reason}; expected is something like https://api.openai.com/v1"
        ))
    };
    let mut url = Url::parse(base).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("neither http nor https"));
    }
    url.path_segments_mut()
        .map_err(|()| invalid("it has no path"))?
        .pop_if_empty()
        .extend(["chat", "completions"]);
    Ok(url)
}

fn configuration(message: String) -> ModelError {
    ModelError::new(ModelErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests;
