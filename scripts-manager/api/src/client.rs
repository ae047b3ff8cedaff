//! The HTTP client of the scripts manager.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use reqwest::{StatusCode, header};
use tokio::sync::OnceCell;
use url::Url;

use crate::{ErrorBody, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner};

/// What the manager may take beyond the script's own deadline: a cold pod and a full queue.
const MARGIN: Duration = Duration::from_secs(60);

/// Where the scripts manager is and how to identify to it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Base URL, for example `http://rockbot-scripts-manager.rockbot:8080`.
    pub url: Url,
    /// File with the projected token for [`AUDIENCE`](crate::AUDIENCE); the kubelet rotates it, so each call reads it.
    pub token_file: PathBuf,
}

/// Runs scripts by asking the scripts manager.
#[derive(Clone, Debug)]
pub struct Client {
    /// Made with the first script: its TLS tables are memory that an idle agent does not need.
    http: OnceCell<reqwest::Client>,
    endpoint: Url,
    token_file: PathBuf,
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL cannot be a base.
    pub fn new(settings: ClientSettings) -> Result<Self, ScriptError> {
        let endpoint = settings.url.join("/v1/scripts").map_err(|error| {
            ScriptError::new(
                ScriptErrorCode::Internal,
                format!("scripts manager URL {}: {error}", settings.url),
            )
        })?;
        Ok(Self {
            http: OnceCell::new(),
            endpoint,
            token_file: settings.token_file,
        })
    }

    async fn http(&self) -> Result<&reqwest::Client, ScriptError> {
        let make = async || {
            let mut http = reqwest::Client::builder()
                .no_proxy()
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true);
            if self.endpoint.scheme() == "http" {
                // Loading the system's certificates costs megabytes that a plain connection never needs.
                http = http.tls_certs_only([]);
            }
            http.build()
        };
        let made = self.http.get_or_try_init(make).await;
        made.map_err(|error| ScriptError::new(ScriptErrorCode::Internal, error.to_string()))
    }

    async fn token(&self) -> Result<String, ScriptError> {
        let text = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| {
            let message = format!("cannot read the token file {}: {error}", self.token_file.display());
            ScriptError::new(ScriptErrorCode::Unauthenticated, message).retryable(None)
        })?;
        Ok(text.trim().to_owned())
    }
}

#[async_trait]
impl ScriptRunner for Client {
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        request.validate()?;
        let deadline = Duration::from_secs(request.timeout_seconds.into()) + MARGIN;
        let response = self
            .http()
            .await?
            .post(self.endpoint.clone())
            .bearer_auth(self.token().await?)
            .timeout(deadline)
            .json(&request)
            .send()
            .await
            .map_err(transport_error)?;
        if response.status().is_success() {
            return response.json().await.map_err(transport_error);
        }
        Err(refusal(response).await)
    }
}

fn transport_error(error: reqwest::Error) -> ScriptError {
    if error.is_connect() {
        let message = "the scripts manager cannot be reached; is its Deployment running?";
        return ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(1));
    }
    let message = format!("the connection to the scripts manager broke: {}", error.without_url());
    ScriptError::new(ScriptErrorCode::SandboxLost, message)
}

async fn refusal(response: reqwest::Response) -> ScriptError {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    match response.json::<ErrorBody>().await {
        Ok(ErrorBody { error }) => ScriptError {
            code: error.code,
            message: error.message,
            retryable: error.retryable,
            retry_after_seconds: retry_after,
        },
        Err(_) => ScriptError {
            code: code_of(status),
            message: format!("the scripts manager answered {status}"),
            retryable: false,
            retry_after_seconds: retry_after,
        },
    }
}

fn code_of(status: StatusCode) -> ScriptErrorCode {
    match status {
        StatusCode::UNAUTHORIZED => ScriptErrorCode::Unauthenticated,
        StatusCode::FORBIDDEN => ScriptErrorCode::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => ScriptErrorCode::Overloaded,
        status if status.is_client_error() => ScriptErrorCode::InvalidRequest,
        _ => ScriptErrorCode::Internal,
    }
}
