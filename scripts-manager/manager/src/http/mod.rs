//! The HTTP API, the probes and the metrics.

mod body;
mod memory;
mod refusal;
mod status;
mod stream;
mod unread;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::future::Either;
use rockbot_identity::{Caller, Verifier};
use rockbot_sandbox::Run;
use rockbot_scripts_api::OutputChunk;
use rockbot_telemetry::{KeyValue, Span, semconv};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    args::Args,
    findings::Findings,
    installer::Packages,
    metrics::{self, Metrics},
    pod::Pods,
    pool::{Pool, Work},
    replay::{self, Entry, Outcome, Replays},
};

use body::Incoming;
use memory::Memory;
use refusal::Refusal;
use unread::Unread;

/// What the handlers use.
pub(crate) struct Parts {
    pub args: Args,
    pub verifier: Verifier,
    pub pool: Arc<Pool>,
    pub pods: Pods,
    pub packages: Packages,
    pub findings: Arc<Findings>,
    pub metrics: Arc<Metrics>,
    pub draining: CancellationToken,
}

#[derive(Clone)]
struct App {
    parts: Arc<Parts>,
    memory: Arc<Memory>,
    replays: Arc<Replays>,
}

/// All routes.
pub(crate) fn router(parts: Arc<Parts>) -> Router {
    let app = App {
        parts,
        memory: Arc::default(),
        replays: Arc::default(),
    };
    Router::new()
        .route(SCRIPTS, post(run_script))
        .route("/v1/status", get(status::status))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

const SCRIPTS: &str = "/v1/scripts";

async fn run_script(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let span = Arc::new(Span::of_request(request.headers(), || {
        let attributes = vec![
            KeyValue::new(semconv::HTTP_REQUEST_METHOD, "POST"),
            KeyValue::new(semconv::HTTP_ROUTE, SCRIPTS),
        ];
        (format!("POST {SCRIPTS}"), attributes)
    }));
    let response = answer(app, request, &span).await;
    response.inspect_err(|refusal| span.fail(refusal.status().as_str().to_owned()))
}

async fn answer(app: App, request: Request, span: &Arc<Span>) -> Result<Response, Refusal> {
    // Who calls is known before a byte of the body is read.
    let peer = request.extensions().get().copied();
    let caller = app.parts.verifier.authenticate(request.headers(), peer).await?;
    let key = replay::key(request.headers())?;
    let streamed = stream::is_wanted(request.headers());
    let incoming = body::read(request, app.memory.share(&caller)).await?;
    let (share, idempotent) = (app.memory.share(&caller), key.is_some());
    if !streamed {
        let outcome = app.begin(caller, key, incoming, None, span)?;
        return Unread::new(outcome.await?, share, idempotent)?.into_response();
    }
    let (output, chunks) = mpsc::channel(stream::CHUNKS);
    let outcome = app.begin(caller, key, incoming, Some(output), span)?;
    let unread = async move { Unread::streamed(outcome.await?, share, idempotent) };
    stream::respond(chunks, unread).await
}

impl App {
    /// Starts what a request asks for, unless an earlier one did. Dropping the future ends the script; with a key it ends a
    /// little later, because the same client may come back.
    fn begin(
        &self,
        caller: Caller,
        key: Option<String>,
        incoming: Incoming,
        output: Option<mpsc::Sender<OutputChunk>>,
        span: &Arc<Span>,
    ) -> Result<impl Future<Output = Outcome> + Send + use<>, Refusal> {
        let fingerprint = incoming.fingerprint;
        let Some(key) = key else {
            let run = self.run(caller, incoming, output, false, span);
            return Ok(Either::Left(run));
        };
        let entry = self.replays.enter(&caller, key, fingerprint, Instant::now());
        let pending = match entry.ok_or_else(Refusal::another_body)? {
            Entry::First(first) => {
                let pending = first.pending();
                tokio::spawn(first.run(self.run(caller, incoming, output, true, span)));
                pending
            }
            Entry::Again(pending) => {
                self.parts.metrics.replays.inc();
                pending
            }
        };
        Ok(Either::Right(replay::outcome(pending)))
    }

    fn run(
        &self,
        caller: Caller,
        incoming: Incoming,
        output: Option<mpsc::Sender<OutputChunk>>,
        idempotent: bool,
        span: &Arc<Span>,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let (parts, span) = (Arc::clone(&self.parts), Arc::clone(span));
        async move {
            let Incoming {
                mut request,
                share: _share,
                ..
            } = incoming;
            let layer = parts.packages.layer(&request, &caller).await.inspect_err(|_| {
                parts.metrics.count(metrics::Outcome::Refused);
            })?;
            let work = Work {
                layer,
                packages: std::mem::take(&mut request.pip_packages),
                run: Run::new(request, parts.args.caps()),
                output,
                idempotent,
                trace: span.context(),
            };
            let outcome = parts.pool.run(&caller, work).await.map(Arc::new);
            outcome.inspect_err(|error| span.fail(error.code.http_status().to_string()))
        }
    }
}

async fn ready(State(app): State<App>) -> Response {
    if app.parts.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    if !app.parts.pods.are_listed() {
        return (StatusCode::SERVICE_UNAVAILABLE, "script pods cannot be listed yet").into_response();
    }
    "ok".into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    let Parts {
        pool,
        findings,
        metrics,
        ..
    } = &*app.parts;
    match metrics.text(pool, &findings.now()) {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
