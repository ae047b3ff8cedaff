//! The agents of a server, resolved by name when a request comes.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use rockbot_agent::{Agent, AgentError, Environment};
use rockbot_agent_config::AgentConfig;

/// A set of agents that can be replaced while requests run.
#[derive(Default)]
pub struct Agents {
    by_name: ArcSwap<BTreeMap<String, Arc<Agent>>>,
}

impl Agents {
    /// The agent `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Agent>> {
        self.by_name.load().get(name).cloned()
    }

    /// The agent, if there is exactly one.
    pub fn only(&self) -> Option<Arc<Agent>> {
        let agents = self.by_name.load();
        let mut all = agents.values();
        all.next().filter(|_| all.next().is_none()).cloned()
    }

    /// All agents, by name.
    pub fn list(&self) -> Vec<Arc<Agent>> {
        self.by_name.load().values().cloned().collect()
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<String> {
        self.by_name.load().keys().cloned().collect()
    }

    pub(crate) fn replace(&self, configs: Vec<AgentConfig>, environment: &Environment) -> Result<(), AgentError> {
        let present = self.by_name.load();
        let mut agents = BTreeMap::new();
        for config in configs {
            let same = present.get(&config.name).filter(|agent| *agent.config() == config);
            let agent = same.map_or_else(
                || Agent::start(config.clone(), environment),
                |agent| Ok(Arc::clone(agent)),
            )?;
            agents.insert(config.name, agent);
        }
        self.by_name.store(Arc::new(agents));
        Ok(())
    }
}
