//! The HTTP client of the operator.

use std::{path::PathBuf, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Response, StatusCode, header::HeaderMap};
use rockbot_http::ReadError;
use thiserror::Error;
use tokio::{sync::OnceCell, time::timeout};
use url::Url;

use crate::{AgentSummary, ErrorBody};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for a question, all attempts together.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;

/// Where the operator is and how to identify to it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Base URL, for example `http://rockbot-operator.rockbot-system.svc:8080`.
    pub url: Url,
    /// File with the projected token for [`AUDIENCE`](crate::AUDIENCE); the kubelet rotates it, so each call reads it.
    pub token_file: PathBuf,
}

/// Asks the operator.
///
/// It is only ever asked what is, so a question whose connection breaks is asked again.
#[derive(Debug)]
pub struct Client {
    /// Made with the first question: an idle agent does not need its memory.
    http: OnceCell<reqwest::Client>,
    settings: ClientSettings,
}

/// Why the operator gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// It does not do what it is asked.
    #[error("the operator answered {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// In its words.
        message: String,
    },
    /// It cannot be asked, or its answer is none.
    #[error("{0}")]
    Unreachable(String),
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    pub fn new(settings: ClientSettings) -> Self {
        Self {
            http: OnceCell::new(),
            settings,
        }
    }

    /// The Agent `name` of `namespace`, if there is one. That must be the caller's own namespace.
    ///
    /// # Errors
    /// When the operator refuses, or gives no answer in time.
    pub async fn agent(&self, namespace: &str, name: &str) -> Result<Option<AgentSummary>, ClientError> {
        match self.get(&["v1", "agents", namespace, name]).await {
            Ok(body) => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| unreachable(&format!("its answer is none: {error}"))),
            Err(ClientError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, path: &[&str]) -> Result<Vec<u8>, ClientError> {
        let mut url = self.settings.url.clone();
        url.path_segments_mut()
            .map_err(|()| unreachable(&format!("{} is no base URL", self.settings.url)))?
            .pop_if_empty()
            .extend(path);
        let attempts = (|| self.attempt(&url))
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(100))
                    .with_jitter(),
            )
            .when(|error| matches!(error, ClientError::Unreachable(_)));
        timeout(DEADLINE, attempts)
            .await
            .map_err(|_| unreachable(&format!("no answer within {} s", DEADLINE.as_secs())))?
    }

    async fn attempt(&self, url: &Url) -> Result<Vec<u8>, ClientError> {
        let file = &self.settings.token_file;
        let token = tokio::fs::read_to_string(file)
            .await
            .map_err(|error| unreachable(&format!("the token file {} cannot be read: {error}", file.display())))?;
        let mut headers = HeaderMap::new();
        rockbot_telemetry::inject(&mut headers);
        let request = self.http().await?.get(url.clone()).headers(headers);
        let response = request.bearer_auth(token.trim()).send().await.map_err(broken)?;
        let status = response.status();
        let body = read(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(status, &body))
    }

    async fn http(&self) -> Result<&reqwest::Client, ClientError> {
        let make = async || {
            let http = reqwest::Client::builder()
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true);
            rockbot_http::build(http, [self.settings.url.as_str()])
        };
        self.http.get_or_try_init(make).await.map_err(broken)
    }
}

async fn read(response: Response) -> Result<Vec<u8>, ClientError> {
    let read = rockbot_http::read(response, MAX_ANSWER).await;
    read.map_err(|error| match error {
        ReadError::Broken(error) => broken(error),
        error @ ReadError::TooLong(_) => unreachable(&error.to_string()),
    })
}

/// A server that is overloaded or starting may do better later; what a client does wrong stays wrong.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let message = serde_json::from_slice::<ErrorBody>(body).map_or_else(
        |_| status.canonical_reason().unwrap_or("no reason given").to_owned(),
        |body| body.error.message,
    );
    if status.is_server_error() {
        return unreachable(&format!("it answered {}: {message}", status.as_u16()));
    }
    ClientError::Refused {
        status: status.as_u16(),
        message,
    }
}

fn broken(error: reqwest::Error) -> ClientError {
    unreachable(&error.without_url().to_string())
}

fn unreachable(how: &str) -> ClientError {
    ClientError::Unreachable(format!("the operator cannot be asked: {how}"))
}
