//! The agent's HTTP server: OpenAI's chat completions and responses for every agent of a process, and what operators
//! look at.
//!
//! Translates between HTTP and [`rockbot_agent`]; decides nothing about models or tools. The binary `rockbot-agent`
//! serves one agent from a file; `rockbot dev` serves any number and replaces them at run time.

mod access;
mod agents;
mod args;
mod ask;
mod body;
mod chat;
mod discovery;
mod error;
mod info;
mod limits;
mod metrics;
mod on_demand;
mod process;
mod record;
mod request;
mod resolver;
mod responses;
mod router;
mod search;
mod serve;
mod sse;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub use agents::Agents;
use body::Room;
pub use discovery::Loopback;
use error::ApiError;
use metrics::ServerMetrics;
pub use on_demand::OnDemand;
pub use process::Program;
use prometheus_client::registry::Registry;
pub use resolver::AgentResolver;
use rockbot_agent::{Agent, AgentError, Environment, skills::Skill};
pub use rockbot_agent_config::AgentConfig;
use rockbot_scripts_api::ScriptRunner;
pub use router::router;
pub use serve::{Drain, serve};

/// The programs in the documentation compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/skills.md")]
struct Documentation;

/// One HTTP server: its agents, its metrics, and whether it still wants requests.
pub struct Server {
    agents: Agents,
    resolver: RwLock<Option<Arc<dyn AgentResolver>>>,
    environment: Environment,
    metrics: ServerMetrics,
    registry: Registry,
    room: Room,
    draining: AtomicBool,
}

impl Server {
    /// A server without agents. `scripts` runs the scripts of agents that have `tools.scripts` switched on.
    pub fn new(scripts: Option<Arc<dyn ScriptRunner>>) -> Arc<Self> {
        Self::with_skills(scripts, Vec::new())
    }

    /// Like [`new`](Self::new); every agent has `skills`.
    pub fn with_skills(scripts: Option<Arc<dyn ScriptRunner>>, skills: Vec<Arc<dyn Skill>>) -> Arc<Self> {
        Self::within(Environment {
            scripts,
            skills,
            ..Environment::default()
        })
    }

    /// A server without agents; those that come may use what is in `environment`.
    pub fn within(environment: Environment) -> Arc<Self> {
        let metrics = ServerMetrics::default();
        let mut registry = Registry::default();
        environment.metrics.register(&mut registry);
        metrics.register(&mut registry);
        Arc::new(Self {
            agents: Agents::default(),
            resolver: RwLock::default(),
            environment,
            metrics,
            registry,
            room: Room::of_process(),
            draining: AtomicBool::new(false),
        })
    }

    /// Replaces the whole set of agents at once. An agent whose configuration is the same keeps running as it is;
    /// answers of a changed or removed agent come to their end. After an error the set is what it was.
    ///
    /// # Errors
    /// [`AgentError`] naming the agent and the field.
    pub fn set_agents(&self, configs: Vec<AgentConfig>) -> Result<(), AgentError> {
        self.agents.replace(configs, &self.environment)
    }

    /// From now on `resolver` is asked for agents that are not in the set.
    pub fn set_resolver(&self, resolver: Arc<dyn AgentResolver>) {
        *self.resolver.write().unwrap_or_else(PoisonError::into_inner) = Some(resolver);
    }

    /// The agents that [`set_agents`](Self::set_agents) gave it, at this moment.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// The agent `name`: one of the set, or one that the resolver finds.
    async fn find(&self, name: &str) -> Result<Option<Arc<Agent>>, ApiError> {
        match (self.agents.get(name), self.resolver()) {
            (None, Some(resolver)) => resolver::resolve(&*resolver, name, &self.environment).await,
            (found, _) => Ok(found),
        }
    }

    /// All agents that can be listed, by name.
    async fn list(&self) -> Vec<Arc<Agent>> {
        let Some(resolver) = self.resolver() else {
            return self.agents.list();
        };
        let found = resolver::list(&*resolver).await;
        let by_name = |agent: Arc<Agent>| (agent.config().name.clone(), agent);
        // The set wins, as it does when an agent is asked.
        let all: BTreeMap<_, _> = found.into_iter().chain(self.agents.list()).map(by_name).collect();
        all.into_values().collect()
    }

    fn resolver(&self) -> Option<Arc<dyn AgentResolver>> {
        self.resolver.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that is counted, as `/metrics` says it.
    ///
    /// # Errors
    /// When a series cannot be written, which none of this crate does.
    pub fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        for agent in self.agents.list() {
            if let Some(budget) = agent.budget() {
                self.metrics.daily_tokens(&agent.config().name, &budget.known());
            }
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Whether the server is about to stop and wants no further requests.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
