//! Chat completions: reads the request, finds the agent, and answers at once or as a stream.

mod completion;
mod request;
mod stream;
mod wire;

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use rockbot_agent::Agent;
use rockbot_llm::chat::ChatRequest;
use tracing::Instrument;

use self::{
    request::{Caller, REQUEST_ID},
    wire::Head,
};
use crate::{Server, access, error::ApiError, record::Record};

/// Largest request body: a long conversation with some images.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// `POST /{agent}/chat/completions`: the path names the agent.
pub(crate) async fn by_path(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let agent = server.agents().get(&name).ok_or_else(|| unknown_agent(&server, &name));
    respond(&server, &headers, body, |_| agent).await
}

/// `POST /v1/chat/completions`: the field `model` names the agent.
pub(crate) async fn by_model(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    respond(&server, &headers, body, |request| match &request.model {
        Some(name) => server.agents().get(name).ok_or_else(|| unknown_model(&server, name)),
        None => server.agents().only().ok_or_else(|| no_model(&server)),
    })
    .await
}

async fn respond(
    server: &Server,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    agent: impl FnOnce(&ChatRequest) -> Result<Arc<Agent>, ApiError>,
) -> Response {
    let mut caller = Caller::of(headers);
    let span = caller.span();
    let read = || -> Result<_, ApiError> {
        let request = request::parse(&body.map_err(unreadable)?)?;
        let agent = agent(&request)?;
        Ok((agent, request))
    };
    let answer = async {
        let (agent, request) = read().inspect_err(|_| server.metrics.refused())?;
        tracing::Span::current().record("agent", &agent.config().name);
        caller.asked.scope =
            access::scope(&agent.config().access, headers).inspect_err(|_| server.metrics.refused())?;
        let record = Record::open(&server.metrics, &agent).inspect_err(|_| server.metrics.refused())?;
        answer(&agent, request, &caller, record).await
    };
    let mut response = answer
        .instrument(span)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    response
        .headers_mut()
        .extend(caller.asked.request_id.parse().map(|id| (REQUEST_ID, id)));
    response
}

async fn answer(
    agent: &Arc<Agent>,
    request: ChatRequest,
    caller: &Caller,
    mut record: Record,
) -> Result<Response, ApiError> {
    let streamed = request.stream.unwrap_or_default();
    let options = stream::Options {
        usage: request
            .stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            .unwrap_or_default(),
        tool_events: caller.wants_tool_events,
    };
    let head = Head::new(&agent.config().name);
    let turn = agent.turn(request, caller.asked.clone()).map_err(ApiError::from);
    let turn = turn.inspect_err(|error| record.fail(error.status))?;
    if streamed {
        stream::answer(turn, head, options, record).await
    } else {
        completion::answer(turn, head, record).await
    }
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

fn unknown_agent(server: &Server, name: &str) -> ApiError {
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
