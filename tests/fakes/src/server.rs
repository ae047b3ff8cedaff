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
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    builtin, otlp,
    recorder::{Recorded, Watch},
    step::{Refusal, Step},
    wire::{self, Wire},
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
    fn step(&self, name: &str, chat: &Value, recorded: Recorded) -> Option<Step> {
        let builtin = builtin::answer(name, chat);
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
    let router = router(Provider::default()).merge(otlp::router(otlp::Receiver::default()));
    run(listener, router).await
}

pub(crate) async fn run(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, router).await
}

pub(crate) fn router(provider: Provider) -> Router {
    Router::new()
        .route("/script", post(upload))
        .route("/{scenario}/requests", get(requests))
        .route("/{scenario}/v1/chat/completions", post(chat_completions))
        .route("/{scenario}/v1/messages", post(messages))
        .route("/{scenario}/v1/models/{call}", post(generate_content))
        .route("/{scenario}/v1beta/models/{call}", post(generate_content))
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

async fn chat_completions(
    provider: State<Provider>,
    Path(scenario): Path<String>,
    headers: HeaderMap,
    body: Json<Value>,
) -> Response {
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    answer(&provider, Wire::OpenAi, &scenario, &model, &headers, &body).await
}

async fn messages(
    provider: State<Provider>,
    Path(scenario): Path<String>,
    headers: HeaderMap,
    body: Json<Value>,
) -> Response {
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    answer(&provider, Wire::Anthropic, &scenario, &model, &headers, &body).await
}

async fn generate_content(
    provider: State<Provider>,
    Path((scenario, call)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Json<Value>,
) -> Response {
    match call.split_once(':') {
        Some((model, "streamGenerateContent")) if query.get("alt").is_some_and(|alt| alt == "sse") => {
            answer(&provider, Wire::Gemini, &scenario, model, &headers, &body).await
        }
        _ => refuse(
            Wire::Gemini,
            Refusal::new(404, "this provider knows streamGenerateContent?alt=sse alone"),
        ),
    }
}

async fn answer(
    provider: &Provider,
    wire: Wire,
    scenario: &str,
    model: &str,
    headers: &HeaderMap,
    request: &Value,
) -> Response {
    if let Some(message) = check_key(wire.key(headers)) {
        return refuse(wire, Refusal::new(401, message));
    }
    if let Some(complaint) = wire.complaint(headers, request) {
        return refuse(wire, Refusal::new(400, &complaint));
    }
    let recorded = Recorded::new(headers, request.clone());
    let watch = recorded.watch();
    let chat = wire.chat(request);
    let Some(step) = provider.step(scenario, &chat, recorded) else {
        let message = format!("the scenario {scenario:?} does not exist or has no further step");
        return refuse(wire, Refusal::new(500, &message));
    };
    pause(step.delay_ms).await;
    let unsupported = wire.unsupported(&step, request);
    let unsupported = unsupported.map(|complaint| Refusal::new(400, &complaint));
    if let Some(refusal) = unsupported.or_else(|| step.error.clone()) {
        watch.sent();
        return refuse(wire, refusal);
    }
    let answer = wire::Answer {
        step: &step,
        request,
        chat: &chat,
        model,
    };
    let bytes = pieces(wire.events(&answer), step.piece_bytes);
    let body = Body::from_stream(written(bytes, &step, watch));
    let content_type = step
        .content_type
        .as_deref()
        .unwrap_or("text/event-stream; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type.to_owned())], body).into_response()
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
fn written(pieces: Vec<Bytes>, step: &Step, watch: Watch) -> impl Stream<Item = Result<Bytes, io::Error>> + use<> {
    let middle = pieces.len() / 2;
    let (silent_ms, pause_ms, stall_ms) = (step.silent_ms, step.pause_ms, step.stall_ms);
    let mut left = step.cut_after_bytes;
    let pieces = stream::iter(pieces).enumerate().then(move |(index, mut piece)| {
        let rest = left.map(|left| left.saturating_sub(piece.len()));
        let cut = left.is_some_and(|left| piece.len() >= left);
        piece.truncate(left.unwrap_or(usize::MAX));
        left = rest;
        async move {
            pause(if index == 0 { silent_ms } else { pause_ms }).await;
            pause(if index == middle { stall_ms } else { 0 }).await;
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

fn check_key(key: Option<&str>) -> Option<&'static str> {
    match key {
        None => Some("You didn't provide an API key."),
        Some("sk-wrong") => Some("Incorrect API key provided: sk-wr**g."),
        Some(_) => None,
    }
}

fn refuse(wire: Wire, refusal: Refusal) -> Response {
    let Refusal {
        status,
        message,
        body,
        retry_after,
    } = refusal;
    let message = message.unwrap_or_else(|| format!("HTTP {status}"));
    let body = body.unwrap_or_else(|| wire.error(status, &message));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    response
        .headers_mut()
        .extend(retry_after.map(|seconds| (header::RETRY_AFTER, seconds.into())));
    response
}
