//! A small client of chat completions: what a test needs to say and to read, and no more.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

/// Longest that one request may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

const REQUEST_ID: &str = "x-request-id";

/// A server of agents.
#[derive(Clone, Debug)]
pub struct Agents {
    http: Client,
    base: String,
}

impl Agents {
    /// The server at `base`, for example `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn at(base: impl Into<String>) -> Result<Self> {
        let http = Client::builder().no_proxy().timeout(DEADLINE).build()?;
        Ok(Self {
            http,
            base: base.into(),
        })
    }

    /// Base URL without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// `POST path` with a JSON body, answered by JSON.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        self.post_as(None, path, body).await
    }

    /// Like [`post`](Self::post), by the holder of `key`.
    ///
    /// # Errors
    /// When no answer comes or it is not JSON.
    pub async fn post_as(&self, key: Option<&str>, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let response = self.send(key, path, body).await?;
        let status = response.status();
        let text = response.text().await?;
        let value =
            serde_json::from_str(&text).with_context(|| format!("{path} answered {status}, not JSON: {text}"))?;
        Ok((status, value))
    }

    /// `POST path` with a body as it is.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post_raw(&self, path: &str, body: &'static str) -> Result<(StatusCode, String)> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        let response = request.body(body).send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// Asks `agent` and returns the text of its answer.
    ///
    /// # Errors
    /// When it does not answer with a finished text.
    pub async fn ask(&self, agent: &str, prompt: &str) -> Result<String> {
        let (status, answer) = self.post(&format!("/{agent}/chat/completions"), &user(prompt)).await?;
        ensure!(status == StatusCode::OK, "{agent} answered {status}: {answer}");
        let text = answer["choices"][0]["message"]["content"].as_str();
        text.map(str::to_owned)
            .with_context(|| format!("{agent} answered without text: {answer}"))
    }

    /// `POST path` and the `data:` events of the stream that comes back, `[DONE]` being the last.
    ///
    /// # Errors
    /// When the answer is no event stream.
    pub async fn stream(&self, path: &str, body: &Value) -> Result<Vec<String>> {
        let response = self.send(None, path, body).await?;
        let kind = response
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let (status, kind) = (response.status(), kind.to_owned());
        let text = response.text().await?;
        ensure!(status == StatusCode::OK, "{path} answered {status}: {text}");
        ensure!(kind.starts_with("text/event-stream"), "{path} streams as {kind:?}");
        Ok(text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(str::to_owned)
            .collect())
    }

    /// `POST path` under an identity, and the identity that comes back.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn identity(&self, id: &str, path: &str, body: &Value) -> Result<Option<String>> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let response = request.header(REQUEST_ID, id).send().await?;
        let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Ok(id.map(str::to_owned))
    }

    /// `POST path`, and hangs up once the answer has begun.
    ///
    /// # Errors
    /// When no answer begins.
    pub async fn hang_up(&self, path: &str, body: &Value) -> Result<()> {
        let mut response = self.send(None, path, body).await?;
        let begun = response.chunk().await?;
        ensure!(begun.is_some(), "{path} answered {} without a word", response.status());
        Ok(())
    }

    async fn send(&self, key: Option<&str>, path: &str, body: &Value) -> Result<Response> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        request
            .send()
            .await
            .with_context(|| format!("no answer from {}{path}", self.base))
    }
}

/// A request with one message of the user.
pub fn user(prompt: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": prompt }] })
}

/// A prompt that makes the Demo model run `script`.
pub fn run_python(script: &str) -> String {
    format!("run this:\n```python\n{script}\n```")
}
