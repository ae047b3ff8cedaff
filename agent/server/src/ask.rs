//! A request to an agent, in whatever protocol it comes: reads it, finds the agent, sees who asks, and opens the record.

use std::{future::Future, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use rockbot_agent::Agent;
use rockbot_telemetry::{KeyValue, Span, semconv};
use serde::de::DeserializeOwned;

use crate::{
    Server, access,
    error::{ApiError, Refused},
    metrics::INVOKE_AGENT,
    record::Record,
    request::{self, Caller, Path},
};

/// The body of a request, in a protocol of its own.
pub(crate) trait Ask: DeserializeOwned + Send {
    /// The field that names the agent where the path does not.
    fn model(&self) -> Option<&str>;

    /// Answers, at once or as a stream.
    fn answer(self, asked: Asked) -> impl Future<Output = Result<Response, ApiError>> + Send;
}

/// An agent, and the scope that whoever asks has there.
type Admitted = (Arc<Agent>, String);

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
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    respond::<A>(&server, Some(&name), caller, request).await
}

/// The field `model` names the agent.
pub(crate) async fn by_model<A: Ask>(
    State(server): State<Arc<Server>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    respond::<A>(&server, None, caller, request).await
}

async fn respond<A: Ask>(server: &Server, path: Option<&str>, caller: Caller, request: Request) -> Response {
    let (request, asked) = match accept::<A>(server, path, caller, request).await {
        Ok(accepted) => accepted,
        Err(error) => {
            server.metrics.refused(error.status);
            return error.into_response();
        }
    };
    let answer = asked.record.trace_context().run(request.answer(asked)).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    // Its record tells of it.
    response.extensions_mut().remove::<Refused>();
    response
}

/// Opens the record of a request to an agent that is there, by somebody who may ask it.
async fn accept<A: Ask>(
    server: &Server,
    path: Option<&str>,
    mut caller: Caller,
    request: Request,
) -> Result<(A, Asked), ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    // Nobody has a body read who may not ask.
    let admitted = match path {
        Some(name) => Some(admit(named(server, name).await?, &headers)?),
        None => admit_to_any(server, &headers)?,
    };
    let (body, room) = server.room.read(body).await?;
    let request: A = request::parse(&body)?;
    drop(body);
    let (agent, scope) = match (path, admitted) {
        (Some(_), Some(admitted)) => admitted,
        (_, admitted) => admit_once(modelled(server, request.model()).await?, admitted, &headers)?,
    };
    let trace = trace(&headers, &agent);
    tracing::Span::current().record("trace_id", trace.trace_id());
    caller.asked.scope = scope;
    within_budget(server, &agent).await?;
    let record = Record::open(&server.metrics, &agent, trace, room)?;
    Ok((request, Asked { agent, caller, record }))
}

/// An agent that takes whoever asks, and the scope there; refuses whoever may ask none. Of one that has yet to be found
/// nobody knows whom it takes.
fn admit_to_any(server: &Server, headers: &HeaderMap) -> Result<Option<Admitted>, ApiError> {
    if server.resolver().is_some() {
        return Ok(None);
    }
    let agents = server.agents().list();
    let mut refused = Ok(None);
    for agent in &agents {
        match access::scope(&agent.config().access, headers) {
            Ok(scope) => return Ok(Some((Arc::clone(agent), scope))),
            Err(error) => refused = Err(error),
        }
    }
    if let [only] = &agents[..] {
        names(only);
    }
    refused
}

/// Like [`admit`], without another look at the keys of an agent that has `admitted` the request.
fn admit_once(agent: Arc<Agent>, admitted: Option<Admitted>, headers: &HeaderMap) -> Result<Admitted, ApiError> {
    match admitted.filter(|(known, _)| Arc::ptr_eq(known, &agent)) {
        Some(admitted) => {
            names(&agent);
            Ok(admitted)
        }
        None => admit(agent, headers),
    }
}

/// Whoever may ask `agent` has a scope there.
pub(crate) fn admit(agent: Arc<Agent>, headers: &HeaderMap) -> Result<Admitted, ApiError> {
    names(&agent);
    let scope = access::scope(&agent.config().access, headers)?;
    Ok((agent, scope))
}

/// The log names the agent that is asked.
fn names(agent: &Agent) {
    tracing::Span::current().record("agent", &agent.config().name);
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

/// The agent that a path names.
pub(crate) async fn named(server: &Server, name: &str) -> Result<Arc<Agent>, ApiError> {
    server.find(name).await?.ok_or_else(|| {
        let message = format!("there is no agent {name:?}; there are: {}", all(server));
        ApiError::new(StatusCode::NOT_FOUND, "agent_not_found", message)
    })
}

/// The agent that is a model to OpenAI's clients; the only one when they name none.
pub(crate) async fn modelled(server: &Server, model: Option<&str>) -> Result<Arc<Agent>, ApiError> {
    let (found, status, code, wrong) = match model {
        Some(name) => (
            server.find(name).await?,
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("there is no agent {name:?}"),
        ),
        None => (
            server.agents().only(),
            StatusCode::BAD_REQUEST,
            "model_missing",
            "name an agent".to_owned(),
        ),
    };
    found.ok_or_else(|| {
        let message = format!("model: {wrong}; there are: {}", all(server));
        ApiError::new(status, code, message).param("model")
    })
}

fn all(server: &Server) -> String {
    server.agents().names().join(", ")
}

/// A request that has begun is answered, whatever it costs; the next one is refused.
async fn within_budget(server: &Server, agent: &Agent) -> Result<(), ApiError> {
    let Some(budget) = agent.budget() else {
        return Ok(());
    };
    let standing = budget.look().await;
    server.metrics.daily_tokens(&agent.config().name, &standing);
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
