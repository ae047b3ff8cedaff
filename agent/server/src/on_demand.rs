//! Agents that a function describes by name: each starts with the first request that names it, and is kept.

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use moka::{Entry, future::Cache, ops::compute::Op, policy::EvictionPolicy};
use rockbot_agent::{Agent, AgentError, Environment};

use crate::{AgentConfig, AgentResolver};

/// Agents that are kept at the same time.
const MOST: u64 = 256;
/// How long an agent is kept that nobody asks for.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// Agents that a function describes by name, for [`Program::resolver`](crate::Program::resolver) and
/// [`Server::set_resolver`](crate::Server::set_resolver).
///
/// The function is asked at every request that names an agent beyond the server's own, and may look the name up wherever
/// it likes: `None` says that there is no such agent, and ends one that was there. An agent starts with the first request,
/// and again when its configuration is another one. It is kept until nobody has asked for it for an hour, or 256 others
/// were asked for later; what it keeps in its storage stays there, also in memory.
///
/// An agent that is called otherwise than what was asked for is shared by all names that lead to it.
///
/// ```
/// use rockbot_agent_server::{AgentConfig, OnDemand};
///
/// /// Gives each team an agent of its own, which is otherwise like `main`.
/// fn teams(main: &AgentConfig) -> OnDemand {
///     let main = main.clone();
///     OnDemand::new(move |name| {
///         let is_team = ["red", "blue"].contains(&&*name);
///         let agent = is_team.then(|| AgentConfig { name, ..main.clone() });
///         async { Ok(agent) }
///     })
/// }
///
/// # let config = serde_json::json!({ "name": "main", "model": { "provider": "Demo" } });
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let _running = runtime.enter();
/// let server = rockbot_agent_server::Server::new(None);
/// server.set_resolver(std::sync::Arc::new(teams(&serde_json::from_value(config).unwrap())));
/// ```
pub struct OnDemand {
    describe: Box<Describe>,
    kept: Cache<String, Arc<Agent>>,
}

type Failure = Box<dyn Error + Send + Sync>;
type Description = Result<Option<AgentConfig>, Failure>;
type Describe = dyn Fn(String) -> BoxFuture<'static, Description> + Send + Sync;

impl OnDemand {
    /// Agents that `describe` describes. Names come from clients, of at most 253 bytes.
    pub fn new<D, F>(describe: D) -> Self
    where
        D: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = Description> + Send + 'static,
    {
        Self {
            describe: Box::new(move |name| Box::pin(describe(name))),
            kept: Cache::builder()
                .max_capacity(MOST)
                .time_to_idle(IDLE)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }
}

#[async_trait]
impl AgentResolver for OnDemand {
    async fn resolve(&self, name: &str, environment: &Environment) -> Result<Option<Arc<Agent>>, Failure> {
        let Some(config) = (self.describe)(name.to_owned()).await? else {
            self.kept.invalidate(name).await;
            return Ok(None);
        };
        // One at a time for each agent: those that come together get the same.
        let kept = self.kept.entry(config.name.clone());
        let found = kept
            .and_try_compute_with(async |kept| match kept {
                Some(kept) if *kept.value().config() == config => Ok(Op::Nop),
                _ => Agent::start(config, environment).map(Op::Put),
            })
            .await;
        let found = found.map_err(|error: AgentError| error)?;
        Ok(found.into_entry().map(Entry::into_value))
    }

    /// Those that are kept.
    async fn list(&self) -> Vec<Arc<Agent>> {
        self.kept.iter().map(|(_, agent)| agent).collect()
    }
}
