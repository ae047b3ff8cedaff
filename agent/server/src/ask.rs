//! A request to an agent, in whatever protocol it comes: reads it, finds the agent, sees who asks, and opens the record.

use std::{future::Future, sync::Arc};

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use rockbot_agent::Agent;
use rockbot_telemetry::{KeyValue, Span, semconv};
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::{
    Server, access,
    error::ApiError,
    metrics::INVOKE_AGENT,
    record::Record,
    request::{self, Caller, REQUEST_ID},
};

/// Largest request body: a long conversation with some images.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// The body of a request, in a protocol of its own.
pub(crate) trait Ask: DeserializeOwned + Send {
    /// The field that names the agent where the path does not.
    fn model(&self) -> Option<&str>;

    /// Answers, at once or as a stream.
    fn answer(self, asked: Asked) -> impl Future<Output = Result<Response, ApiError>> + Send;
}

/// Who is asked, by whom.
pub(crate) struct Asked {
    pub(crate) agent: Arc<Agent>,
    pub(crate) caller: Caller,
    pub(crate) record: Record,
}

/// The path names the agent.
pub(crate) async fn by_path<A: Ask>(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond::<A>(&server, Some(&name), &headers, body).await
}

/// The field `model` names the agent.
pub(crate) async fn by_model<A: Ask>(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond::<A>(&server, None, &headers, body).await
}

async fn respond<A: Ask>(
    server: &Server,
    path: Option<&str>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut caller = Caller::of(headers);
    let request_id = caller.asked.request_id.parse();
    let span = caller.span();
    let accepted = async {
        let request: A = request::parse(&body.map_err(unreadable)?)?;
        let agent = find(server, path, request.model()).await?;
        let trace = trace(headers, &agent);
        let log = tracing::Span::current();
        log.record("agent", &agent.config().name);
        log.record("trace_id", trace.trace_id());
        caller.asked.scope = access::scope(&agent.config().access, headers)?;
        within_budget(&agent).await?;
        let record = Record::open(&server.metrics, &agent, trace)?;
        Ok((request, Asked { agent, caller, record }))
    };
    let answer = async {
        let (request, asked) = accepted
            .await
            .inspect_err(|error: &ApiError| server.metrics.refused(error.status))?;
        asked.record.trace_context().run(request.answer(asked)).await
    };
    let mut response = answer
        .instrument(span)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().extend(request_id.map(|id| (REQUEST_ID, id)));
    response
}

/// The span of a request, in the trace of its sender.
fn trace(headers: &HeaderMap, agent: &Agent) -> Span {
    Span::of_request(headers, || {
        let config = agent.config();
        let texts = [
            (semconv::GEN_AI_OPERATION_NAME, INVOKE_AGENT),
            (semconv::GEN_AI_AGENT_NAME, &config.name),
            (semconv::GEN_AI_AGENT_DESCRIPTION, &config.description),
            (semconv::GEN_AI_REQUEST_MODEL, &config.model.name),
        ];
        let given = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let attributes = given.map(|(name, text)| KeyValue::new(name, text.to_owned())).collect();
        (format!("{INVOKE_AGENT} {}", config.name), attributes)
    })
}

/// The agent that the path names, or else the request; the only one when neither does.
async fn find(server: &Server, path: Option<&str>, model: Option<&str>) -> Result<Arc<Agent>, ApiError> {
    match (path, model) {
        (Some(name), _) => server.find(name).await?.ok_or_else(|| unknown_agent(server, name)),
        (None, Some(name)) => server.find(name).await?.ok_or_else(|| unknown_model(server, name)),
        (None, None) => server.agents().only().ok_or_else(|| no_model(server)),
    }
}

/// A request that has begun is answered, whatever it costs; the next one is refused.
async fn within_budget(agent: &Agent) -> Result<(), ApiError> {
    let Some(budget) = agent.budget() else {
        return Ok(());
    };
    let standing = budget.look().await;
    if !standing.is_exhausted() {
        return Ok(());
    }
    let message = format!(
        "this agent has used the {} tokens that it has for a day (limits.dailyTokens); the next day begins at {}",
        standing.limit,
        standing.resets_at()
    );
    Err(ApiError {
        retry_after_seconds: Some(standing.seconds_left()),
        // Clients that try again by themselves would do so within seconds.
        may_retry: false,
        ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", message)
    })
}

fn unreadable(rejection: BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!(
                "the request body is larger than {} MiB, the most that is accepted",
                MAX_BODY >> 20
            ),
        ),
        _ => ApiError::new(StatusCode::BAD_REQUEST, "body_unreadable", "the request body broke off"),
    }
}

/// The error of a path that names no agent.
pub(crate) fn unknown_agent(server: &Server, name: &str) -> ApiError {
    let message = format!(
        "there is no agent {name:?}; there are: {}",
        server.agents().names().join(", ")
    );
    ApiError::new(StatusCode::NOT_FOUND, "agent_not_found", message)
}

fn unknown_model(server: &Server, name: &str) -> ApiError {
    let message = format!(
        "model: there is no agent {name:?}; there are: {}",
        server.agents().names().join(", ")
    );
    ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message).param("model")
}

fn no_model(server: &Server) -> ApiError {
    let message = format!(
        "model: name an agent; there are: {}",
        server.agents().names().join(", ")
    );
    ApiError::new(StatusCode::BAD_REQUEST, "model_missing", message).param("model")
}
