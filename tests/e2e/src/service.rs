//! The HTTP APIs of the operator and the scripts manager, as agents call them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    process::{Server, port_forward},
};

/// Whoever calls a service says who it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    token: Option<&'a str>,
    claim: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// A caller with a token, who says nothing of itself.
    pub fn with(token: &'a str) -> Self {
        Self {
            token: Some(token),
            claim: None,
        }
    }

    /// The same caller, saying that it is `agent`: `NAMESPACE/NAME`.
    #[must_use]
    pub fn claiming(self, agent: &'a str) -> Self {
        Self {
            claim: Some(agent),
            ..self
        }
    }
}

/// A service of RockBot behind a port-forward.
#[derive(Debug)]
pub struct Service {
    _forward: Server,
    http: Client,
    base: String,
}

impl Service {
    /// Reaches Service `name` in `namespace`.
    ///
    /// # Errors
    /// When its port cannot be forwarded.
    pub async fn open(cluster: &Cluster, namespace: &str, name: &str) -> Result<Self> {
        let mut kubectl = cluster.kubectl();
        kubectl.args(["--namespace", namespace]);
        let (forward, address) = port_forward(kubectl, &format!("svc/{name}"), 8080).await?;
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(180)).build()?;
        Ok(Self {
            _forward: forward,
            http,
            base: format!("http://{address}"),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, path: &str, caller: Caller<'_>) -> Result<(StatusCode, String)> {
        self.send(self.http.get(format!("{}{path}", self.base)), caller).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post(&self, path: &str, body: &Value, caller: Caller<'_>) -> Result<(StatusCode, String)> {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body), caller)
            .await
    }

    /// Has the scripts manager run `script` with `input` and returns what it answered.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn run_script(&self, token: &str, script: &str, input: &Value) -> Result<Value> {
        let body = json!({ "script": script, "input_data": input, "timeout_seconds": 20 });
        let (status, text) = self.post("/v1/scripts", &body, Caller::with(token)).await?;
        ensure!(
            status == StatusCode::OK,
            "the scripts manager answered {status}: {text}"
        );
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    async fn send(&self, mut request: RequestBuilder, caller: Caller<'_>) -> Result<(StatusCode, String)> {
        if let Some(token) = caller.token {
            request = request.bearer_auth(token);
        }
        if let Some(claim) = caller.claim {
            request = request.header("x-rockbot-agent", claim);
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }
}
