//! Sends to an OTLP receiver. One that is away costs its senders nothing but what they wanted to send: attempts are few
//! and bounded in time, and the log says so once in a while.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use backon::{ExponentialBuilder, Retryable};
use prost::Message;
use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::time::timeout;
use tracing::warn;
use url::Url;

/// Attempts after the first.
const RETRIES: usize = 2;
/// Pause before the second attempt, about; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two complaints.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(300);

/// A way to a receiver, for one kind of message.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    http: Client,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
    complained: Arc<Mutex<Option<Instant>>>,
}

/// Why a receiver did not take something.
struct Refusal {
    reason: String,
    /// Whether it may take it a moment later.
    is_transient: bool,
}

impl Sender {
    pub(crate) fn new(http: Client, url: Url, mut headers: HeaderMap, timeout: Duration) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Self {
            http,
            url,
            headers,
            timeout,
            complained: Arc::default(),
        }
    }

    /// Sends `message`, or gives it up.
    pub(crate) async fn send(self, message: impl Message) {
        let body = message.encode_to_vec();
        let attempts = (|| self.attempt(body.clone()))
            .retry(
                ExponentialBuilder::default()
                    .with_jitter()
                    .with_min_delay(PAUSE)
                    .with_max_times(RETRIES),
            )
            .when(|refusal: &Refusal| refusal.is_transient);
        match timeout(self.timeout, attempts).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => self.complain(refusal.reason),
            Err(_) => self.complain(format!("no answer within {} ms", self.timeout.as_millis())),
        }
    }

    async fn attempt(&self, body: Vec<u8>) -> Result<(), Refusal> {
        let request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(body);
        let response = request.send().await.map_err(|error| Refusal {
            reason: causes(error),
            is_transient: true,
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Refusal {
            reason: format!("it answered {status}"),
            // As the protocol says.
            is_transient: matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
        })
    }

    fn complain(&self, reason: impl Display) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() > COMPLAIN_AGAIN) {
            *complained = Some(Instant::now());
            let url = &self.url;
            warn!(%url, "the OTLP receiver does not take what it is sent, which is dropped: {reason}");
        }
    }
}

fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    rockbot_http::causes(&error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
