//! Agents that nobody has listed: found by name when a request comes.

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::StatusCode;
use rockbot_agent::{Agent, Environment};
use tracing::error;

use crate::error::ApiError;

/// How long a client waits to learn whether there is an agent.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest name that is looked for, as long as the longest of a Kubernetes object. It comes from a client.
const LONGEST_NAME: usize = 253;

/// Finds agents by name, beside those that a [`Server`](crate::Server) was given.
///
/// ```
/// use std::{collections::BTreeMap, error::Error, sync::{Arc, Mutex, PoisonError}};
///
/// use rockbot_agent::{Agent, Environment};
/// use rockbot_agent_server::{AgentResolver, Server};
///
/// /// Gives each team an agent of its own, from its first request on.
/// #[derive(Default)]
/// struct Teams {
///     agents: Mutex<BTreeMap<String, Arc<Agent>>>,
/// }
///
/// #[async_trait::async_trait]
/// impl AgentResolver for Teams {
///     async fn resolve(
///         &self,
///         name: &str,
///         environment: &Environment,
///     ) -> Result<Option<Arc<Agent>>, Box<dyn Error + Send + Sync>> {
///         if !["red", "blue"].contains(&name) {
///             return Ok(None);
///         }
///         let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
///         if let Some(agent) = agents.get(name) {
///             return Ok(Some(Arc::clone(agent)));
///         }
///         let config = serde_json::json!({ "name": name, "model": { "provider": "Demo" } });
///         let agent = Agent::start(serde_json::from_value(config)?, environment)?;
///         agents.insert(name.to_owned(), Arc::clone(&agent));
///         Ok(Some(agent))
///     }
/// }
///
/// let server = Server::new(None);
/// server.set_resolver(Arc::new(Teams::default()));
/// ```
#[async_trait]
pub trait AgentResolver: Send + Sync {
    /// The agent `name`, or `None` when there is none. [`Agent::start`] with `environment` makes one.
    ///
    /// Called for every request that names an agent which the server was not given, so keep what was started: a new
    /// agent has forgotten the tool results that a client's follow-up refers to. Names come from clients; each agent
    /// that is found adds series to the metrics, so find a bounded number of them. Whoever asks is told that the
    /// server is at fault when this fails or takes longer than 5 seconds, and never why: that is in the log.
    async fn resolve(
        &self,
        name: &str,
        environment: &Environment,
    ) -> Result<Option<Arc<Agent>>, Box<dyn Error + Send + Sync>>;

    /// Agents that lists should show, such as `/v1/models`, beside those that the server was given. None by default:
    /// what is found on demand cannot always be listed.
    async fn list(&self) -> Vec<Arc<Agent>> {
        Vec::new()
    }
}

/// Asks `resolver` for the agent `name`.
///
/// # Errors
/// When it fails or is late; the client may try again.
pub(crate) async fn resolve(
    resolver: &dyn AgentResolver,
    name: &str,
    environment: &Environment,
) -> Result<Option<Arc<Agent>>, ApiError> {
    if name.len() > LONGEST_NAME {
        return Ok(None);
    }
    match tokio::time::timeout(DEADLINE, resolver.resolve(name, environment)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(reason)) => {
            error!(name, "an agent cannot be looked up: {reason}");
            let message = "the agent cannot be looked up at the moment; the log has the details";
            Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "agent_lookup_failed",
                message,
            ))
        }
        Err(_) => {
            error!(name, "an agent was looked up for longer than {} s", DEADLINE.as_secs());
            let message = format!("the agent was not found or missed within {} s", DEADLINE.as_secs());
            Err(ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "agent_lookup_timeout",
                message,
            ))
        }
    }
}

/// What `resolver` has to show; nothing when it takes too long.
pub(crate) async fn list(resolver: &dyn AgentResolver) -> Vec<Arc<Agent>> {
    tokio::time::timeout(DEADLINE, resolver.list())
        .await
        .unwrap_or_default()
}
