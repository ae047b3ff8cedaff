//! The HTTP client of the scripts manager.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use rand::Rng;
use reqwest::{Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use sse_stream::SseByteStream;
use tokio::{
    sync::{OnceCell, mpsc},
    time::{sleep, timeout},
};
use url::Url;
use uuid::Uuid;

use crate::{
    ErrorBody, IDEMPOTENCY_KEY, OutputChunk, OutputStream, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult,
    ScriptRunner, longest_wait,
};

/// Longest silence of a streamed answer: the manager sends a comment now and then while a script says nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// Pause before a request is sent again, about.
const PAUSE: Duration = Duration::from_millis(200);
/// Pauses, about, before the result of a script that has run is asked for again, when the manager had no room for it.
const RESULT_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// Longest answer: the caps on output and files, as JSON escapes and base64 blow them up, with room to spare.
const MAX_ANSWER: usize = 32 << 20;

/// Where the scripts manager is and how to identify to it.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Base URL, for example `http://rockbot-scripts-manager.rockbot:8080`.
    pub url: Url,
    /// File with the projected token for [`AUDIENCE`](crate::AUDIENCE); the kubelet rotates it, so each call reads it.
    pub token_file: PathBuf,
}

/// Runs scripts by asking the scripts manager.
///
/// Each script has an idempotency key, so a request whose connection breaks, or whose result the manager has no room for, is
/// sent once more and still runs once.
#[derive(Clone, Debug)]
pub struct Client {
    /// Made with the first script: its TLS tables are memory that an idle agent does not need.
    http: OnceCell<reqwest::Client>,
    endpoint: Url,
    token_file: PathBuf,
}

/// Why there is no answer.
enum Failure {
    /// The manager refuses, or cannot be asked. Asking again with the same key changes nothing.
    Final(ScriptError),
    /// The connection broke after something was sent.
    Broken(ScriptError),
}

/// The forms in which an answer may come.
#[derive(Clone, Copy)]
enum Form {
    Whole,
    Streamed,
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
            let http = reqwest::Client::builder()
                .no_proxy()
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true);
            rockbot_http::build(http, [self.endpoint.as_str()])
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

    async fn request(&self, script: &ScriptRequest, key: &str, form: Form) -> Result<Request, ScriptError> {
        let request = self
            .http()
            .await?
            .post(self.endpoint.clone())
            .bearer_auth(self.token().await?)
            .header(header::ACCEPT, form.media_type())
            .header(IDEMPOTENCY_KEY, key)
            .json(script);
        let mut request = request
            .build()
            .map_err(|error| ScriptError::new(ScriptErrorCode::Internal, error.to_string()))?;
        rockbot_telemetry::inject(request.headers_mut());
        Ok(request)
    }

    /// Asks, and once more when the connection breaks before `read` has its answer.
    async fn ask<T>(
        &self,
        script: &ScriptRequest,
        key: &str,
        form: Form,
        read: impl AsyncFn(Response) -> Result<T, Failure>,
    ) -> Result<T, ScriptError> {
        let (http, request) = (self.http().await?, self.request(script, key, form).await?);
        let attempt = async |request: Request| {
            let response = http.execute(request).await.map_err(Failure::of_sending)?;
            if response.status().is_success() {
                return read(response).await;
            }
            Err(refusal(response).await)
        };
        let again = request.try_clone();
        match (attempt(request).await, again) {
            (Ok(answer), _) => Ok(answer),
            (Err(Failure::Final(error)), _) | (Err(Failure::Broken(error)), None) => Err(error),
            (Err(Failure::Broken(_)), Some(request)) => {
                let pause = PAUSE.mul_f64(rand::rng().random_range(0.5..1.5));
                sleep(pause).await;
                attempt(request).await.map_err(Failure::after_another)
            }
        }
    }

    /// The answer in one piece.
    async fn ask_whole(&self, script: &ScriptRequest, key: &str) -> Result<ScriptResult, ScriptError> {
        self.ask(script, key, Form::Whole, async |response| {
            let body = whole(response).await.map_err(Failure::Broken)?;
            parse(&body).map_err(Failure::Final)
        })
        .await
    }

    /// Asks for the result of a script that has run until the manager has room for it, or that takes too long.
    async fn fetch(
        &self,
        script: &ScriptRequest,
        key: &str,
        answer: Result<ScriptResult, ScriptError>,
    ) -> Result<ScriptResult, ScriptError> {
        let mut error = match answer {
            Err(error) if error.code == ScriptErrorCode::ResultUnread => error,
            answer => return answer,
        };
        for pause in RESULT_PAUSES {
            let asked = error.retry_after_seconds.map(Duration::from_secs).unwrap_or_default();
            let pause = pause.max(asked).mul_f64(rand::rng().random_range(1.0..1.5));
            sleep(pause).await;
            error = match self.ask_whole(script, key).await {
                // Where there is no room for results, there may be none for requests.
                Err(error) if error.code == ScriptErrorCode::ResultUnread || error.retryable => error,
                answer => return answer,
            };
        }
        let message = "the script has run, but its result is lost: the scripts manager has no room for it; let fewer scripts with \
                       large results run at the same time";
        Err(ScriptError::new(ScriptErrorCode::ResultUnread, message))
    }
}

#[async_trait]
impl ScriptRunner for Client {
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        request.validate()?;
        let key = new_key();
        let answer = async { self.fetch(&request, &key, self.ask_whole(&request, &key).await).await };
        within(&request, answer).await
    }

    async fn run_streaming(
        &self,
        request: ScriptRequest,
        output: mpsc::Sender<OutputChunk>,
    ) -> Result<ScriptResult, ScriptError> {
        request.validate()?;
        let key = new_key();
        let streamed = async {
            // Once output was passed on nothing is asked again: it would come twice.
            let response = self.ask(&request, &key, Form::Streamed, async |response| Ok(response));
            follow(response.await?, output).await
        };
        // A result alone may be asked for again.
        let answer = async { self.fetch(&request, &key, streamed.await).await };
        within(&request, answer).await
    }
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Whole => "application/json",
            Self::Streamed => "text/event-stream",
        }
    }
}

impl Failure {
    fn of_sending(error: reqwest::Error) -> Self {
        if error.is_connect() {
            let message = "the scripts manager cannot be reached; is its Deployment running?";
            return Self::Final(ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(1)));
        }
        Self::Broken(broken(&error.without_url().to_string()))
    }

    /// The second failure of a request: whatever it says, the first one may have run the script.
    fn after_another(self) -> ScriptError {
        let (Self::Final(error) | Self::Broken(error)) = self;
        let code = match error.code {
            ScriptErrorCode::SandboxUnavailable | ScriptErrorCode::Overloaded => ScriptErrorCode::SandboxLost,
            code => code,
        };
        ScriptError {
            code,
            retryable: false,
            ..error
        }
    }
}

/// Tells one script of this client from all others.
fn new_key() -> String {
    Uuid::new_v4().to_string()
}

/// Keeps the deadline of a request, all attempts together.
async fn within<T>(
    request: &ScriptRequest,
    answer: impl Future<Output = Result<T, ScriptError>>,
) -> Result<T, ScriptError> {
    let deadline = longest_wait(request.timeout_seconds, !request.pip_packages.is_empty());
    let late = |_| broken(&format!("no answer within {deadline:?}"));
    timeout(deadline, answer).await.map_err(late)?
}

/// Passes on what a streamed answer says of the script's output, until its result.
async fn follow(response: Response, output: mpsc::Sender<OutputChunk>) -> Result<ScriptResult, ScriptError> {
    let mut events = SseByteStream::new(pieces(response));
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| match error {
            sse_stream::Error::Body(error) => broken(&error.to_string()),
            error => broken(&error.to_string()),
        })?;
        let data = event.data.unwrap_or_default();
        let stream = match event.event.as_deref() {
            Some("stdout") => OutputStream::Stdout,
            Some("stderr") => OutputStream::Stderr,
            Some("result") => return parse(data.as_bytes()),
            Some("error") => return Err(parse::<ErrorBody>(data.as_bytes())?.into()),
            // A newer manager may have more to say.
            _ => continue,
        };
        let chunk: OutputChunk = parse(data.as_bytes())?;
        // Nobody may be listening any more; the result is wanted all the same.
        let _ = output.send(OutputChunk { stream, ..chunk }).await;
    }
    Err(broken("it ended before the result"))
}

/// The body of an answer, as long as it keeps coming and is not too long.
fn pieces(response: Response) -> BoxStream<'static, Result<Bytes, ScriptError>> {
    stream::try_unfold((response, MAX_ANSWER), async |(mut response, room)| {
        let piece = timeout(SILENCE, response.chunk())
            .await
            .map_err(|_| broken(&format!("nothing came for {SILENCE:?}")))?
            .map_err(|error| broken(&error.without_url().to_string()))?;
        let Some(piece) = piece else { return Ok(None) };
        let room = room
            .checked_sub(piece.len())
            .ok_or_else(|| broken(&format!("the answer is longer than {MAX_ANSWER} bytes")))?;
        Ok(Some((piece, (response, room))))
    })
    .boxed()
}

async fn whole(response: Response) -> Result<Vec<u8>, ScriptError> {
    let collect = async |mut body: Vec<u8>, piece: Bytes| {
        body.extend_from_slice(&piece);
        Ok(body)
    };
    pieces(response).try_fold(Vec::new(), collect).await
}

async fn refusal(response: Response) -> Failure {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let body = match whole(response).await {
        Ok(body) => body,
        Err(error) => return Failure::Broken(error),
    };
    let error = serde_json::from_slice::<ErrorBody>(&body).map_or_else(
        |_| ScriptError::new(code_of(status), format!("the scripts manager answered {status}")),
        ScriptError::from,
    );
    Failure::Final(ScriptError {
        retry_after_seconds: retry_after,
        ..error
    })
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

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ScriptError> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the scripts manager gave an answer that is none: {error}");
        ScriptError::new(ScriptErrorCode::Internal, message)
    })
}

/// The script may have run, wholly or in part.
fn broken(how: &str) -> ScriptError {
    let message = format!("the connection to the scripts manager broke: {how}");
    ScriptError::new(ScriptErrorCode::SandboxLost, message)
}
