//! Agents that nobody has listed: found by name when a request comes.

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::StatusCode;
use rockbot_agent::{Agent, Environment};
use rockbot_agent_config::FIXED_ROUTES;
use tracing::error;

use crate::error::ApiError;

/// How long a client waits to learn whether there is an agent.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest name that is looked for, as long as the longest of a Kubernetes object. It comes from a client.
const LONGEST_NAME: usize = 253;

/// Finds agents by name, beside those that a [`Server`](crate::Server) was given. [`OnDemand`](crate::OnDemand) is one for
/// agents that are described when they are asked for.
///
/// ```
/// use std::{error::Error, sync::Arc};
///
/// use rockbot_agent::{Agent, Environment};
/// use rockbot_agent_server::AgentResolver;
///
/// /// Has one agent answer clients that insist on a model of their own.
/// struct StandIn(Arc<Agent>);
///
/// #[async_trait::async_trait]
/// impl AgentResolver for StandIn {
///     async fn resolve(
///         &self,
///         name: &str,
///         _: &Environment,
///     ) -> Result<Option<Arc<Agent>>, Box<dyn Error + Send + Sync>> {
///         Ok(name.starts_with("gpt-").then(|| Arc::clone(&self.0)))
///     }
/// }
/// ```
#[async_trait]
pub trait AgentResolver: Send + Sync {
    /// The agent `name`, or `None` when there is none. [`Agent::start`] with `environment` makes one.
    ///
    /// Called for every request that names an agent which the server was not given, so keep what was started: a new
    /// agent counts its concurrent requests anew, and connects to its MCP servers again. Names come from clients; the
    /// first 512 agents of a process have series of their own in the metrics, the others count together as `_others`.
    /// Whoever asks is told that the server is at fault when this fails or takes longer than 5 seconds, and never why:
    /// that is in the log.
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
    if name.len() > LONGEST_NAME || FIXED_ROUTES.contains(&name) {
        return Ok(None);
    }
    match tokio::time::timeout(DEADLINE, resolver.resolve(name, environment)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(reason)) => {
            error!(
                name,
                "an agent cannot be looked up: {:#}",
                anyhow::Error::from_boxed(reason)
            );
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
