//! Responses that are kept: a conversation goes on from one, and clients read and delete them.
//!
//! Each is kept with all of its conversation, so that none depends on another. A response belongs to the scope that it
//! was made under; others do not find it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
};
use rockbot_agent::Agent;
use rockbot_agent_store::{Space, StoreError};
use rockbot_llm::chat::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    input,
    request::{ResponsesRequest, invalid},
};
use crate::{Server, access, ask, body::Taken, error::ApiError, request::Path};

/// How long a response is kept, as long as OpenAI keeps one.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Items of one page, when a client does not say.
const PAGE: usize = 20;
/// Most items of one page.
const LARGEST_PAGE: usize = 100;

/// A response that is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    scope: String,
    response: Value,
    /// The items of its own request.
    input: Vec<Value>,
    /// The conversation with its answer, without instructions.
    messages: Vec<Message>,
}

/// The conversation that a request continues or begins.
pub(super) struct Conversation {
    space: Space,
    is_kept: bool,
    scope: String,
    input: Vec<Value>,
    messages: Vec<Message>,
}

impl Conversation {
    /// The conversation of `request`, whose input moves into it.
    pub(super) async fn begin(
        request: &mut ResponsesRequest,
        agent: &Agent,
        scope: &str,
        room: &mut Taken,
    ) -> Result<Self, ApiError> {
        request.check()?;
        let Some(input) = request.input.take() else {
            return Err(invalid("input", "is required: a string or a list of items"));
        };
        let input = input.into_items();
        let space = responses(agent);
        let mut messages = match &request.previous_response_id {
            Some(id) => {
                let found = find(&space, id, scope, room).await?;
                found.ok_or_else(|| no_previous(id))?.messages
            }
            None => Vec::new(),
        };
        messages.extend(input::messages(&input)?);
        if messages.is_empty() {
            return Err(invalid("input", "must have at least one item that says something"));
        }
        Ok(Self {
            space,
            is_kept: request.store.unwrap_or(true),
            scope: scope.to_owned(),
            input,
            messages,
        })
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether the response is to be kept.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Keeps `response` and what it said. Says whether that could be done: an answer is not lost for it.
    pub(super) async fn keep(&mut self, id: &str, response: &Value, said: Message) -> bool {
        let mut messages = std::mem::take(&mut self.messages);
        messages.push(said);
        let stored = Stored {
            scope: self.scope.clone(),
            response: response.clone(),
            input: std::mem::take(&mut self.input),
            messages,
        };
        let kept = self.space.put(id, &stored, Some(LIFETIME)).await;
        kept.inspect_err(|error| warn!(id, "a response is not kept: {error}"))
            .is_ok()
    }
}

fn responses(agent: &Agent) -> Space {
    agent.store().space("responses")
}

/// A stored conversation takes as much memory as one that comes with a request, and `room` is taken before it is read.
async fn find(space: &Space, id: &str, scope: &str, room: &mut Taken) -> Result<Option<Stored>, ApiError> {
    let _turn = room.turn_to_fetch().await?;
    let Some(entry) = space.find(id).await.map_err(|error| unusable(&error))? else {
        return Ok(None);
    };
    room.add(entry.json())?;
    let stored: Stored = entry.read().map_err(|error| unusable(&error))?;
    Ok(Some(stored).filter(|stored| stored.scope == scope))
}

fn unusable(error: &StoreError) -> ApiError {
    warn!("stored responses cannot be used: {error}");
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "storage_unavailable",
        "the agent's storage cannot be used at the moment; its log has the details",
    )
}

fn no_previous(id: &str) -> ApiError {
    let why =
        format!("there is no response {id:?}; it may not have been stored, or was deleted, or is older than 30 days");
    ApiError {
        code: "previous_response_not_found",
        ..invalid("previous_response_id", &why)
    }
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "response_not_found",
        format!("there is no response {id:?}"),
    )
}

/// A response, in the store that has it.
struct Found {
    space: Space,
    stored: Stored,
    _room: Taken,
}

/// Looks for a response in the agent of a path, or in all agents that are listed.
async fn look(server: &Server, agent: Option<&str>, id: &str, headers: &HeaderMap) -> Result<Found, ApiError> {
    let Some(name) = agent else {
        return look_everywhere(server, id, headers).await;
    };
    let (agent, scope) = ask::admit(ask::named(server, name).await?, headers)?;
    look_at(server, &agent, &scope, id).await
}

/// Whoever may not ask one agent may have asked another, and a store that cannot be used hides nothing that others have.
async fn look_everywhere(server: &Server, id: &str, headers: &HeaderMap) -> Result<Found, ApiError> {
    let agents = server.list().await;
    let mut error = not_found(id);
    for agent in &agents {
        let found = match access::scope(&agent.config().access, headers) {
            Ok(scope) => look_at(server, agent, &scope, id).await,
            Err(refused) => Err(refused),
        };
        match found {
            Ok(found) => return Ok(found),
            Err(other) if agents.len() == 1 || other.status.is_server_error() => error = other,
            Err(_) => {}
        }
    }
    Err(error)
}

/// Looks for a response of `agent` that was made under `scope`.
async fn look_at(server: &Server, agent: &Agent, scope: &str, id: &str) -> Result<Found, ApiError> {
    let (space, mut room) = (responses(agent), server.room.enter()?);
    let stored = find(&space, id, scope, &mut room).await?;
    Ok(Found {
        space,
        stored: stored.ok_or_else(|| not_found(id))?,
        _room: room,
    })
}

/// Query of `GET /v1/responses/{id}`.
#[derive(Deserialize)]
pub(crate) struct GetQuery {
    #[serde(default)]
    stream: bool,
}

/// `GET /v1/responses/{id}`
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: Result<Query<GetQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    read(&server, None, &id, &headers, query).await
}

/// `GET /{agent}/responses/{id}`
pub(crate) async fn get_at(
    State(server): State<Arc<Server>>,
    Path((agent, id)): Path<(String, String)>,
    headers: HeaderMap,
    query: Result<Query<GetQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    read(&server, Some(&agent), &id, &headers, query).await
}

async fn read(
    server: &Server,
    agent: Option<&str>,
    id: &str,
    headers: &HeaderMap,
    query: Result<Query<GetQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(query) = query.map_err(|error| invalid("stream", &error.body_text()))?;
    if query.stream {
        return Err(invalid("stream", "a response that is complete is not streamed again"));
    }
    let found = look(server, agent, id, headers).await?;
    Ok(Json(found.stored.response))
}

/// `DELETE /v1/responses/{id}`
pub(crate) async fn delete(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    forget(&server, None, &id, &headers).await
}

/// `DELETE /{agent}/responses/{id}`
pub(crate) async fn delete_at(
    State(server): State<Arc<Server>>,
    Path((agent, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    forget(&server, Some(&agent), &id, &headers).await
}

async fn forget(server: &Server, agent: Option<&str>, id: &str, headers: &HeaderMap) -> Result<Json<Value>, ApiError> {
    let found = look(server, agent, id, headers).await?;
    found.space.delete(id).await.map_err(|error| unusable(&error))?;
    Ok(Json(json!({ "id": id, "object": "response", "deleted": true })))
}

/// Query of `GET /v1/responses/{id}/input_items`.
#[derive(Deserialize)]
pub(crate) struct PageQuery {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    order: Option<Order>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Order {
    Asc,
    #[default]
    Desc,
}

/// `GET /v1/responses/{id}/input_items`
pub(crate) async fn input_items(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    list(&server, None, &id, &headers, query).await
}

/// `GET /{agent}/responses/{id}/input_items`
pub(crate) async fn input_items_at(
    State(server): State<Arc<Server>>,
    Path((agent, id)): Path<(String, String)>,
    headers: HeaderMap,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    list(&server, Some(&agent), &id, &headers, query).await
}

async fn list(
    server: &Server,
    agent: Option<&str>,
    id: &str,
    headers: &HeaderMap,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(PageQuery { after, limit, order }) = query.map_err(|error| {
        let message = format!("{}; limit is a number, order is asc or desc", error.body_text());
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_value", message)
    })?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(invalid(
            "limit",
            &format!("is {limit}; it must be between 1 and {LARGEST_PAGE}"),
        ));
    }
    let mut items = look(server, agent, id, headers).await?.stored.input;
    if order.unwrap_or_default() == Order::Desc {
        items.reverse();
    }
    if let Some(after) = after {
        let position = items.iter().position(|item| item["id"] == *after);
        let position = position.ok_or_else(|| invalid("after", &format!("there is no item {after:?}")))?;
        items.drain(..=position);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let end = |item: Option<&Value>| item.map(|item| item["id"].clone()).unwrap_or_default();
    let (first_id, last_id) = (end(items.first()), end(items.last()));
    Ok(Json(json!({
        "object": "list",
        "data": items,
        "first_id": first_id,
        "last_id": last_id,
        "has_more": has_more,
    })))
}
