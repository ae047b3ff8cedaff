//! The HTTP API, the probes and the metrics.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rockbot_identity::{IdentityError, Verifier};
use rockbot_scripts_api::{ErrorBody, ErrorDetail, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult};
use serde::Serialize;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{metrics::Metrics, pod::Pods, pool::Pool};

/// Longest body: the longest script and input, with room for what JSON escapes.
const MAX_BODY: usize = 4 << 20;
/// Bodies that are read and parsed at the same time; with the longest, they take 64 MiB.
const MAX_BODIES: usize = 16;
/// Longest time in which a body must be here.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// What the handlers use.
#[derive(Clone)]
pub(crate) struct App {
    verifier: Verifier,
    pool: Arc<Pool>,
    pods: Pods,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    /// Turns to hold a body in memory.
    bodies: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(
        verifier: Verifier,
        pool: Arc<Pool>,
        pods: Pods,
        metrics: Arc<Metrics>,
        draining: CancellationToken,
    ) -> Self {
        let bodies = Arc::new(Semaphore::new(MAX_BODIES));
        Self {
            verifier,
            pool,
            pods,
            metrics,
            draining,
            bodies,
        }
    }

    /// The script that a request carries.
    async fn read(&self, request: Request) -> Result<ScriptRequest, ScriptError> {
        let body = async {
            let _turn = self
                .bodies
                .acquire()
                .await
                .map_err(|error| ScriptError::invalid(error.to_string()))?;
            let body = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| {
                ScriptError::invalid(format!(
                    "the body cannot be read (at most {MAX_BODY} bytes are): {error}"
                ))
            })?;
            parse(&body)
        };
        let late = |_| ScriptError::invalid(format!("the body did not come within {BODY_DEADLINE:?}"));
        timeout(BODY_DEADLINE, body).await.map_err(late)?
    }
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/scripts", post(run_script))
        .route("/v1/status", get(status))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

async fn run_script(State(app): State<App>, request: Request) -> Result<Json<ScriptResult>, Refusal> {
    // Who calls is known before a byte of the body is read.
    let caller = app.verifier.authenticate(request.headers()).await?;
    let script = app.read(request).await?;
    Ok(Json(app.pool.run(&caller, &script).await?))
}

fn parse(body: &[u8]) -> Result<ScriptRequest, ScriptError> {
    let request: ScriptRequest =
        serde_json::from_slice(body).map_err(|error| ScriptError::invalid(format!("the body: {error}")))?;
    request.validate()?;
    Ok(request)
}

/// Body of `GET /v1/status`.
#[derive(Serialize)]
struct Status {
    parked: usize,
    starting: usize,
    running: usize,
    waiting: usize,
    draining: bool,
}

async fn status(State(app): State<App>) -> Json<Status> {
    let counts = app.pool.counts();
    Json(Status {
        parked: counts.parked,
        starting: counts.starting,
        running: counts.running,
        waiting: counts.waiting,
        draining: app.draining.is_cancelled(),
    })
}

async fn ready(State(app): State<App>) -> Response {
    if app.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    if !app.pods.are_listed() {
        return (StatusCode::SERVICE_UNAVAILABLE, "script pods cannot be listed yet").into_response();
    }
    "ok".into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    match app.metrics.text(app.pool.counts()) {
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

/// An error as a response.
struct Refusal(ScriptError);

impl From<ScriptError> for Refusal {
    fn from(error: ScriptError) -> Self {
        Self(error)
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error.http_status() {
            401 => ScriptError::new(ScriptErrorCode::Unauthenticated, message),
            403 => ScriptError::new(ScriptErrorCode::Forbidden, message),
            _ => ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(1)),
        }
        .into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(ScriptError {
            code,
            message,
            retryable,
            retry_after_seconds,
        }) = self;
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (
            status,
            Json(ErrorBody {
                error: ErrorDetail {
                    code,
                    message,
                    retryable,
                },
            }),
        )
            .into_response();
        if let Some(seconds) = retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
