//! What a server says of itself: its agents as models and as agents, its health, its metrics.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, HOST},
    },
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};
use rockbot_agent::{Agent, Health, scope};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Server, ask, error::ApiError, request::Path, search};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Characters of the instructions that stand in for a missing description.
const EXCERPT: usize = 200;

/// `GET /`: everything at a glance, or with `search` the agents that fit best.
pub(crate) async fn root(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    query: Result<Query<Search>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(query) = query.map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            format!("{}; top_k is a number", error.body_text()),
        )
    })?;
    if let Some(search) = query.search {
        let found = search::agents(&server.list().await, &search, query.top_k);
        return Ok(Json(found_object(&search, &found, &headers)));
    }
    let agents = server.list().await;
    let names: Vec<_> = agents.iter().map(|agent| &agent.config().name).collect();
    Ok(Json(json!({
        "message": "RockBot agent server",
        "version": VERSION,
        "agents": names,
        "endpoints": {
            "discovery": "/?search={query}&top_k={limit}",
            "agent_info": "/{agent}",
            "chat_completions": "/{agent}/chat/completions",
            "responses": "/{agent}/responses",
            "openai": "/v1",
        },
    })))
}

/// Query of `GET /`.
#[derive(Deserialize)]
pub(crate) struct Search {
    search: Option<String>,
    #[serde(default = "default_top_k")]
    top_k: usize,
}

fn default_top_k() -> usize {
    5
}

/// Agents are named by a URL as the client itself reached the server: where a proxy has taken TLS off, it says so.
fn found_object(search: &str, found: &[Arc<Agent>], headers: &HeaderMap) -> Value {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let scheme = headers.get("x-forwarded-proto").map(text).unwrap_or_default();
    let scheme = if scheme.starts_with("https") { "https" } else { "http" };
    let host = headers.get(HOST).map(text);
    let base = host.map(|host| format!("{scheme}://{host}")).unwrap_or_default();
    let agents = found.iter().map(|agent| {
        let Card {
            name,
            description,
            capabilities,
            ..
        } = Card::of(agent);
        json!({
            "url": format!("{base}/{name}"),
            "name": name,
            "description": description,
            "capabilities": capabilities,
            "min_balance": 0,
        })
    });
    let agents: Vec<_> = agents.collect();
    json!({ "query": search, "total_results": agents.len(), "agents": agents })
}

/// `GET /{agent}`
pub(crate) async fn agent(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let agent = ask::named(&server, &name).await?;
    let Card {
        name,
        description,
        capabilities,
        skills,
    } = Card::of(&agent);
    Ok(Json(json!({
        "name": name,
        "description": description,
        "capabilities": capabilities,
        "skills": skills,
        "pricing": {},
    })))
}

/// What anybody may know of an agent.
pub(crate) struct Card {
    pub(crate) name: String,
    /// The beginning of the instructions where there is none.
    pub(crate) description: String,
    /// Tools that everybody may use, as `skill:tool`.
    pub(crate) capabilities: Vec<String>,
    pub(crate) skills: BTreeSet<String>,
}

impl Card {
    pub(crate) fn of(agent: &Agent) -> Self {
        let config = agent.config();
        let tools = agent.tools().get_tools();
        let tools = tools.iter().filter(|tool| tool.scope.admits(scope::ALL));
        Self {
            name: config.name.clone(),
            description: match &*config.description {
                "" => excerpt(&config.instructions),
                description => description.to_owned(),
            },
            capabilities: tools
                .clone()
                .map(|tool| format!("{}:{}", tool.source, tool.name))
                .collect(),
            skills: tools
                .map(|tool| tool.source.clone())
                .chain(agent.skills().names())
                .collect(),
        }
    }
}

/// `GET /v1/models`
pub(crate) async fn models(State(server): State<Arc<Server>>) -> Json<Value> {
    let models: Vec<_> = server.list().await.iter().map(|agent| model_object(agent)).collect();
    Json(json!({ "object": "list", "data": models }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn model(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let agent = ask::modelled(&server, Some(&name)).await?;
    Ok(Json(model_object(&agent)))
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
        "timestamp": now(),
        "agents": server.agents().names(),
    }))
}

/// `GET /health/detailed`: what can be said about each agent without asking its provider.
pub(crate) async fn health_detailed(State(server): State<Arc<Server>>) -> Json<Value> {
    let mut checks = serde_json::Map::new();
    for agent in server.list().await {
        let mut check = agent_health(&agent.health());
        if let Some(budget) = agent.budget() {
            let today = budget.look().await;
            check["daily_tokens"] = json!({ "used": today.used, "limit": today.limit, "resets_at": today.resets_at() });
        }
        checks.insert(agent.config().name.clone(), check);
    }
    let all_well = checks.values().all(|check| check["status"] == "healthy");
    Json(json!({
        "server_status": if server.is_draining() { "draining" } else if all_well { "healthy" } else { "degraded" },
        "version": VERSION,
        "timestamp": now(),
        "agents": checks,
    }))
}

fn agent_health(health: &Health) -> Value {
    let Health {
        skills,
        tools,
        problems,
    } = health;
    let status = if problems.is_empty() { "healthy" } else { "degraded" };
    json!({ "status": status, "skills": skills, "tools": tools, "problems": problems })
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
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
    let text = server.metrics_text().map_err(|_| ApiError::internal())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
