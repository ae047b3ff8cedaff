//! The agent's HTTP server: OpenAI's chat completions for every agent of a process, and what operators look at.
//!
//! Translates between HTTP and [`rockbot_agent`]; decides nothing about models or tools. The binary `rockbot-agent`
//! serves one agent from a file; `rockbot dev` serves any number and replaces them at run time.

mod access;
mod agents;
mod args;
mod chat;
mod error;
mod info;
mod metrics;
mod process;
mod record;
mod router;
mod search;
mod serve;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub use agents::Agents;
use metrics::ServerMetrics;
pub use process::main;
use prometheus_client::registry::Registry;
use rockbot_agent::{AgentError, Environment, Metrics, skills::Skill};
use rockbot_agent_config::AgentConfig;
use rockbot_scripts_api::ScriptRunner;
pub use router::router;
pub use serve::{Drain, serve};

/// One HTTP server: its agents, its metrics, and whether it still wants requests.
pub struct Server {
    agents: Agents,
    environment: Environment,
    metrics: ServerMetrics,
    registry: Registry,
    draining: AtomicBool,
}

impl Server {
    /// A server without agents. `scripts` runs the scripts of agents that have `tools.scripts` switched on.
    pub fn new(scripts: Option<Arc<dyn ScriptRunner>>) -> Arc<Self> {
        Self::with_skills(scripts, Vec::new())
    }

    /// Like [`new`](Self::new); every agent has `skills`.
    pub fn with_skills(scripts: Option<Arc<dyn ScriptRunner>>, skills: Vec<Arc<dyn Skill>>) -> Arc<Self> {
        let environment = Environment {
            scripts,
            skills,
            metrics: Metrics::default(),
        };
        let metrics = ServerMetrics::default();
        let mut registry = Registry::default();
        environment.metrics.register(&mut registry);
        metrics.register(&mut registry);
        Arc::new(Self {
            agents: Agents::default(),
            environment,
            metrics,
            registry,
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

    /// The agents that are served at this moment.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// Whether the server is about to stop and wants no further requests.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
