//! What a server says of itself: its agents as models and as agents, its health, its metrics.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};
use rockbot_agent::Agent;
use serde_json::{Value, json};

use crate::{Server, error::ApiError};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Characters of the instructions that stand in for a missing description.
const EXCERPT: usize = 200;

/// `GET /`
pub(crate) async fn root(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({
        "message": "RockBot agent server",
        "version": VERSION,
        "agents": server.agents().names(),
        "endpoints": {
            "agent_info": "/{agent}",
            "chat_completions": "/{agent}/chat/completions",
            "openai": "/v1",
        },
    }))
}

/// `GET /{agent}`
pub(crate) async fn agent(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let agent = server.agents().get(&name).ok_or_else(|| not_found(&name))?;
    let config = agent.config();
    let tools = agent.tools().get_tools();
    let mut skills: Vec<_> = tools.iter().map(|tool| tool.source.as_str()).collect();
    skills.dedup();
    let capabilities: Vec<_> = tools
        .iter()
        .map(|tool| format!("{}:{}", tool.source, tool.name))
        .collect();
    let description = if config.description.is_empty() {
        excerpt(&config.instructions)
    } else {
        config.description.clone()
    };
    Ok(Json(json!({
        "name": config.name,
        "description": description,
        "capabilities": capabilities,
        "skills": skills,
    })))
}

/// `GET /v1/models`
pub(crate) async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    let models: Vec<_> = server.agents().list().iter().map(|agent| model_object(agent)).collect();
    Json(json!({ "object": "list", "data": models }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn model(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let agent = server.agents().get(&name);
    agent.map(|agent| Json(model_object(&agent))).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("there is no agent {name:?}"),
        )
        .param("model")
    })
}

fn model_object(agent: &Agent) -> Value {
    json!({
        "id": agent.config().name,
        "object": "model",
        "created": DateTime::<Utc>::from(agent.started()).timestamp(),
        "owned_by": "rockbot",
    })
}

/// `GET /health`
pub(crate) async fn health(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "version": VERSION,
        "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        "agents": server.agents().names(),
    }))
}

/// `GET /ready`: whether new requests are wanted.
pub(crate) async fn ready(State(server): State<Arc<Server>>) -> Response {
    if server.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "draining" }))).into_response();
    }
    Json(json!({ "status": "ready" })).into_response()
}

/// `GET /live`: whether the process can answer at all.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /metrics`
pub(crate) async fn metrics(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &server.registry).map_err(|_| ApiError::internal())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "agent_not_found",
        format!("there is no agent {name:?}"),
    )
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
