//! The provider's HTTP side: routes, scenarios, and answers that arrive as badly as their steps want.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    builtin,
    recorder::{Recorded, Watch},
    step::{Refusal, Step},
    wire,
};

/// Requests that are remembered of one scenario.
const REMEMBERED: usize = 1000;
const MAX_BODY: usize = 64 << 20;

/// Scenarios and what came to them. Clones are the same provider.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    scenarios: Arc<Mutex<HashMap<String, Scenario>>>,
}

#[derive(Default)]
struct Scenario {
    steps: Vec<Step>,
    next: usize,
    requests: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upload {
    name: String,
    steps: Vec<Step>,
}

impl Provider {
    pub(crate) fn upload(&self, name: &str, steps: Vec<Step>) {
        self.lock().insert(
            name.to_owned(),
            Scenario {
                steps,
                ..Scenario::default()
            },
        );
    }

    pub(crate) fn requests(&self, name: &str) -> Vec<Recorded> {
        self.lock()
            .get(name)
            .map(|scenario| scenario.requests.clone())
            .unwrap_or_default()
    }

    /// The next uploaded step, or what a built-in scenario answers.
    fn step(&self, name: &str, recorded: Recorded) -> Option<Step> {
        let builtin = builtin::answer(name, &recorded.body);
        let mut scenarios = self.lock();
        let scenario = match builtin {
            Some(_) => scenarios.entry(name.to_owned()).or_default(),
            None => scenarios.get_mut(name)?,
        };
        if scenario.requests.len() < REMEMBERED {
            scenario.requests.push(recorded);
        }
        builtin.or_else(|| {
            scenario.next += 1;
            scenario.steps.get(scenario.next - 1).cloned()
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scenario>> {
        self.scenarios.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a new provider on `listener` for ever.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    run(listener, router(Provider::default())).await
}

pub(crate) async fn run(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, router).await
}

pub(crate) fn router(provider: Provider) -> Router {
    Router::new()
        .route("/script", post(upload))
        .route("/{scenario}/requests", get(requests))
        .route("/{scenario}/v1/chat/completions", post(complete))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(provider)
}

async fn upload(State(provider): State<Provider>, Json(upload): Json<Upload>) -> StatusCode {
    provider.upload(&upload.name, upload.steps);
    StatusCode::NO_CONTENT
}

async fn requests(State(provider): State<Provider>, Path(scenario): Path<String>) -> Json<Vec<Recorded>> {
    Json(provider.requests(&scenario))
}

async fn complete(
    State(provider): State<Provider>,
    Path(scenario): Path<String>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    if let Some(refusal) = check_key(&headers) {
        return refuse(refusal);
    }
    if request["stream"] != true {
        return refuse(error(
            400,
            "invalid_request_error",
            None,
            "this provider streams only: send \"stream\": true",
        ));
    }
    let recorded = Recorded::new(&headers, request.clone());
    let watch = recorded.watch();
    let Some(step) = provider.step(&scenario, recorded) else {
        let message = format!("the scenario {scenario:?} does not exist or has no further step");
        return refuse(error(500, "server_error", None, &message));
    };
    pause(step.delay_ms).await;
    if let Some(refusal) = step.error {
        watch.sent();
        return refuse(refusal);
    }
    let bytes = pieces(wire::events(&step, &request), step.piece_bytes);
    let body = Body::from_stream(written(bytes, step.pause_ms, step.cut_after_bytes, watch));
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response()
}

/// The events as they are, or all of their bytes in pieces of one size.
fn pieces(events: Vec<String>, size: Option<usize>) -> Vec<Bytes> {
    match size {
        None => events.into_iter().map(Bytes::from).collect(),
        Some(size) => events
            .concat()
            .as_bytes()
            .chunks(size.max(1))
            .map(Bytes::copy_from_slice)
            .collect(),
    }
}

/// Writes piece by piece. An error of the stream breaks the connection, which is how an answer is cut.
fn written(
    pieces: Vec<Bytes>,
    pause_ms: u64,
    cut_after: Option<usize>,
    watch: Watch,
) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let mut left = cut_after;
    let pieces = stream::iter(pieces).enumerate().then(move |(index, mut piece)| {
        let rest = left.map(|left| left.saturating_sub(piece.len()));
        let cut = left.is_some_and(|left| piece.len() >= left);
        piece.truncate(left.unwrap_or(usize::MAX));
        left = rest;
        async move {
            if index > 0 {
                pause(pause_ms).await;
            }
            (piece, cut)
        }
    });
    // One yield lets the last bytes go out before the connection breaks.
    let cut = |(piece, cut): (Bytes, bool)| {
        let end = cut.then(|| Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
        stream::iter([Ok(piece)].into_iter().chain(end)).then(async |piece| {
            tokio::task::yield_now().await;
            piece
        })
    };
    let end = stream::once(async move {
        watch.sent();
        None::<Result<Bytes, io::Error>>
    });
    pieces
        .flat_map(cut)
        .map(Some)
        .chain(end)
        .filter_map(async |piece| piece)
}

/// Even a sleep of nothing lasts until the timer's next tick, which would spoil measurements.
async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

fn check_key(headers: &HeaderMap) -> Option<Refusal> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let refuse = |message: &str| Some(error(401, "invalid_request_error", Some("invalid_api_key"), message));
    match authorization.and_then(|value| value.strip_prefix("Bearer ")) {
        None => refuse("You didn't provide an API key."),
        Some("sk-wrong") => refuse("Incorrect API key provided: sk-wr**g."),
        Some(_) => None,
    }
}

fn error(status: u16, kind: &str, code: Option<&str>, message: &str) -> Refusal {
    let body = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
    Refusal {
        status,
        body: Some(body),
        retry_after: None,
    }
}

fn refuse(refusal: Refusal) -> Response {
    let Refusal {
        status,
        body,
        retry_after,
    } = refusal;
    let body = body.or_else(|| error(status, "server_error", None, &format!("HTTP {status}")).body);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    response
        .headers_mut()
        .extend(retry_after.map(|seconds| (header::RETRY_AFTER, seconds.into())));
    response
}
