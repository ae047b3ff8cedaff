//! The HTTP API for agents, the probes and the metrics; served by every replica from its stores.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{MatchedPath, Path, Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use prometheus_client::{encoding::text::encode, registry::Registry};
use rockbot_crds::{Agent, AgentStatus};
use rockbot_http::Peer;
use rockbot_identity::{Caller, IdentityError, Verifier};
use rockbot_operator_api::{AgentList, AgentSummary, ErrorBody, ErrorDetail};
use rockbot_operator_plan::{agent_url, tool_names};
use rockbot_telemetry::{KeyValue, Span, semconv};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::{
    object::{Object, Unreadable},
    watches::Stores,
};

/// What answers are made from.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) stores: Stores,
    pub(crate) verifier: Verifier,
    pub(crate) registry: Arc<Registry>,
    /// Cancelled once the stores are filled.
    pub(crate) ready: CancellationToken,
}

/// All routes.
pub(crate) fn router(server: Server) -> Router {
    Router::new()
        .route("/v1/agents", get(list))
        .route("/v1/agents/{namespace}/{name}", get(one))
        .route_layer(middleware::from_fn(traced))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(server)
}

/// Each question is a span in the trace of whoever asks.
async fn traced(request: Request, next: Next) -> Response {
    let span = Span::of_request(request.headers(), || {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        let attributes = vec![
            KeyValue::new(semconv::HTTP_REQUEST_METHOD, request.method().to_string()),
            KeyValue::new(semconv::HTTP_ROUTE, route.to_owned()),
        ];
        (format!("{} {route}", request.method()), attributes)
    });
    let response = span.context().run(next.run(request)).await;
    let status = response.status();
    span.record(|| {
        vec![KeyValue::new(
            semconv::HTTP_RESPONSE_STATUS_CODE,
            i64::from(status.as_u16()),
        )]
    });
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
    response
}

async fn list(
    State(server): State<Server>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Json<AgentList>, Refusal> {
    let caller = server.caller(&headers, peer).await?;
    let is_near = |agent: &Object<Agent>| agent.namespace().as_ref() == Some(&caller.namespace);
    let mut agents: Vec<_> = server
        .stores
        .agents
        .state_filter(is_near)
        .iter()
        .filter_map(|agent| summary(agent))
        .collect();
    agents.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(AgentList { agents }))
}

async fn one(
    State(server): State<Server>,
    Path((namespace, name)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Json<AgentSummary>, Refusal> {
    let caller = server.caller(&headers, peer).await?;
    if namespace != caller.namespace {
        return Err(Refusal::Elsewhere { caller, namespace });
    }
    let found = server.stores.agents.get(&ObjectRef::new(&name).within(&namespace));
    found
        .and_then(|agent| summary(&agent).map(Json))
        .ok_or(Refusal::NotFound { namespace, name })
}

async fn ready(State(server): State<Server>) -> (StatusCode, &'static str) {
    if server.ready.is_cancelled() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not been read yet\n")
    }
}

/// Everything that is counted.
pub(crate) fn metrics_text(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

async fn metrics(State(server): State<Server>) -> Response {
    match metrics_text(&server.registry) {
        Ok(text) => (
            [(
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn summary(agent: &Object<Agent>) -> Option<AgentSummary> {
    match agent {
        Object::Readable(agent) => Some(read(agent)),
        Object::Unreadable(agent) => reported(agent),
    }
}

fn read(agent: &Agent) -> AgentSummary {
    let (namespace, name) = (agent.namespace().unwrap_or_default(), agent.name_any());
    AgentSummary {
        url: agent_url(&namespace, &name, agent.spec.service.port),
        description: agent.spec.description.clone().unwrap_or_default(),
        tools: tool_names(agent),
        ready: agent.status.as_ref().is_some_and(has_pods),
        namespace,
        name,
    }
}

/// An agent whose spec cannot be read, as it was reported by an operator that could: its pods are as that one left them.
fn reported(agent: &Unreadable) -> Option<AgentSummary> {
    let status = AgentStatus::deserialize(agent.status()).ok()?;
    let object = &agent.object;
    Some(AgentSummary {
        ready: has_pods(&status),
        url: status.url?,
        description: object.data["spec"]["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        tools: status
            .tools
            .iter()
            .flat_map(|tools| tools.split(", "))
            .map(str::to_owned)
            .collect(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    })
}

fn has_pods(status: &AgentStatus) -> bool {
    status.ready_replicas.is_some_and(|pods| pods > 0)
}

impl Server {
    async fn caller(&self, headers: &HeaderMap, peer: Option<Extension<Peer>>) -> Result<Caller, Refusal> {
        let peer = peer.map(|Extension(peer)| peer);
        let caller = self.verifier.authenticate(headers, peer).await;
        caller.map_err(Refusal::Identity)
    }
}

/// Why a request gets no answer.
enum Refusal {
    Identity(IdentityError),
    Elsewhere { caller: Caller, namespace: String },
    NotFound { namespace: String, name: String },
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Identity(error) => {
                let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, error.to_string())
            }
            Self::Elsewhere { caller, namespace } => (
                StatusCode::FORBIDDEN,
                format!("`{caller}` sees the agents of its own namespace, not those of `{namespace}`"),
            ),
            Self::NotFound { namespace, name } => (
                StatusCode::NOT_FOUND,
                format!("there is no agent `{name}` in `{namespace}`; GET /v1/agents lists all"),
            ),
        };
        let code = match status {
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            _ => "internal",
        };
        (
            status,
            Json(ErrorBody {
                error: ErrorDetail {
                    code: code.into(),
                    message,
                },
            }),
        )
            .into_response()
    }
}
