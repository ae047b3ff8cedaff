//! The agent runtime: what an agent is while it runs, its turns and its tools.
//!
//! Knows nothing of HTTP servers, of Kubernetes or of where scripts run. Nothing here is shared between two agents
//! except what the [`Environment`] hands to both, and nothing that one request does changes another.

mod budget;
mod context;
mod declared;
mod kept;
mod mcp;
mod metrics;
mod outbound;
pub mod peers;
mod run;
pub mod scope;
pub mod sdk;
pub mod skills;
pub mod tools;
pub mod turn;

use std::{sync::Arc, time::SystemTime};

pub use budget::{Budget, Standing};
pub use context::{Context, RequestContext};
use declared::Declared;
use jiff::tz::TimeZone;
use kept::Kept;
pub use metrics::Metrics;
use outbound::Outbound;
use peers::{Directory, Peers};
use rockbot_agent_config::{AgentConfig, ToolsConfig};
use rockbot_agent_store::{Store, Stores};
use rockbot_llm::{Endpoints, Model, ModelError};
use rockbot_scripts_api::ScriptRunner;
pub use run::{ToolResult, TurnError, TurnEvent};
use skills::{Skill, SkillError, Skills};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tools::{Invoker, RegisterError, ToolRegistry, scripts};

/// What the agents of a process may use.
#[derive(Clone, Default)]
pub struct Environment {
    /// Runs scripts; needed by agents that have `tools.scripts` switched on.
    pub scripts: Option<Arc<dyn ScriptRunner>>,
    /// Skills that every agent has.
    pub skills: Vec<Arc<dyn Skill>>,
    /// Finds other agents; needed by agents that hand tasks to them.
    pub directory: Option<Arc<dyn Directory>>,
    /// Where their models are.
    pub endpoints: Endpoints,
    /// Where they count.
    pub metrics: Metrics,
    /// Where they keep things.
    pub stores: Stores,
}

/// A running agent.
pub struct Agent {
    config: AgentConfig,
    model: Arc<dyn Model>,
    tools: Arc<ToolRegistry>,
    skills: Skills,
    invoker: Invoker,
    peers: Arc<Peers>,
    kept: Kept,
    store: Store,
    budget: Option<Arc<Budget>>,
    places: Arc<Semaphore>,
    started: SystemTime,
    /// Ends with the agent.
    mcp: mcp::Connections,
}

/// How an agent is, as far as it can tell without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Skills that it has.
    pub skills: usize,
    /// Tools that it has, from skills and from elsewhere.
    pub tools: usize,
    /// What keeps it from doing all that it should. Tells neither paths nor addresses.
    pub problems: Vec<String>,
}

/// The right to have one request answered.
pub struct Place(#[expect(dead_code, reason = "its end is what counts")] OwnedSemaphorePermit);

/// Why an agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its model cannot be set up.
    #[error("agent {agent}: {source}")]
    Model {
        /// The agent.
        agent: String,
        /// What is wrong.
        source: ModelError,
    },
    /// It may run scripts, but nothing here runs them.
    #[error("agent {0}: tools.scripts is on, but no scripts manager is configured")]
    NoScripts(String),
    /// The packages that its scripts may name cannot be read.
    #[error("agent {agent}: tools.scripts.packages: {reason}")]
    Packages {
        /// The agent.
        agent: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody knows its time zone.
    #[error("agent {agent}: timeZone: there is no {name:?}; expected is a name such as Europe/Paris")]
    TimeZone {
        /// The agent.
        agent: String,
        /// What it is called.
        name: String,
    },
    /// A tool cannot be registered.
    #[error("agent {agent}: {source}")]
    Tool {
        /// The agent.
        agent: String,
        /// What is wrong.
        source: RegisterError,
    },
    /// What it declares without code cannot be.
    #[error("agent {agent}: {field} {reason}")]
    Declared {
        /// The agent.
        agent: String,
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A skill cannot be added.
    #[error("agent {agent}: {source}")]
    Skill {
        /// The agent.
        agent: String,
        /// What is wrong.
        source: SkillError,
    },
}

impl Agent {
    /// Starts an agent inside a tokio runtime. MCP servers are connected in the background, and until they are the
    /// agent works without their tools; it all ends when the last reference is dropped.
    ///
    /// # Errors
    /// [`AgentError`] naming the agent and the field.
    pub fn start(config: AgentConfig, environment: &Environment) -> Result<Arc<Self>, AgentError> {
        let Environment { endpoints, metrics, .. } = environment;
        let model = rockbot_llm::connect(&config.model, endpoints, &metrics.models);
        let model = model.map_err(|source| AgentError::Model {
            agent: config.name.clone(),
            source,
        })?;
        Self::with_model(config, model, environment)
    }

    /// Like [`start`](Self::start), with a model of the caller's.
    ///
    /// # Errors
    /// [`AgentError`] naming the agent and the field.
    pub fn with_model(
        config: AgentConfig,
        model: Arc<dyn Model>,
        environment: &Environment,
    ) -> Result<Arc<Self>, AgentError> {
        let store = environment.stores.open(&config.storage, &config.name);
        let budget = budget(&config, &store)?;
        let tools = Arc::new(ToolRegistry::default());
        let ToolsConfig { scripts, mcp } = &config.tools;
        if let Some(settings) = scripts {
            let runner = environment
                .scripts
                .clone()
                .ok_or_else(|| AgentError::NoScripts(config.name.clone()))?;
            let tool = scripts::ScriptTool::new(runner, settings).map_err(|reason| AgentError::Packages {
                agent: config.name.clone(),
                reason,
            })?;
            tools
                .register_own(scripts::registration(settings), Arc::new(tool))
                .map_err(|source| AgentError::Tool {
                    agent: config.name.clone(),
                    source,
                })?;
        }
        let outbound = Arc::<Outbound>::default();
        let peers = Arc::new(Peers::new(
            environment.directory.clone(),
            Arc::clone(&outbound),
            &config.handoffs,
        ));
        let declared = Declared::of(&config, &outbound, &peers).map_err(|wrong| AgentError::Declared {
            agent: config.name.clone(),
            field: wrong.field,
            reason: wrong.reason,
        })?;
        let declared = declared.map(|skill| skill as Arc<dyn Skill>);
        let skills = Skills::new(Arc::clone(&tools));
        for skill in environment.skills.iter().cloned().chain(declared) {
            skills.add(skill).map_err(|source| AgentError::Skill {
                agent: config.name.clone(),
                source,
            })?;
        }
        Ok(Arc::new(Self {
            model,
            skills,
            invoker: Invoker::new(environment.metrics.clone()),
            peers,
            kept: Kept::new(store.space("turns")),
            store,
            budget,
            places: Arc::new(Semaphore::new(config.limits.max_concurrent_requests as usize)),
            started: SystemTime::now(),
            mcp: mcp::connect(mcp, &tools, &environment.metrics),
            tools,
            config,
        }))
    }

    /// What the agent was started with.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// A place for one more request, kept until it is dropped; `None` when all are taken (`limits.maxConcurrentRequests`).
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(Place)
    }

    /// What it keeps beyond a request.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The tokens of its day, if they are limited (`limits.dailyTokens`).
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_deref()
    }

    /// How it is at this moment.
    pub fn health(&self) -> Health {
        let lost = self.mcp.lost();
        let mut problems: Vec<_> = lost
            .map(|server| format!("no connection to the MCP server {server:?}"))
            .collect();
        problems.extend(self.model.problems());
        let key = self.config.model.api_key_file.as_ref();
        if key.is_some_and(|file| std::fs::File::open(file).is_err()) {
            problems.push("the API key of the model cannot be read".to_owned());
        }
        if self.store.is_failing() {
            problems.push("its storage cannot be used".to_owned());
        }
        Health {
            skills: self.skills.names().len(),
            tools: self.tools.snapshot().len(),
            problems,
        }
    }

    /// When it was started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Its tools, which may come and go.
    pub fn tools(&self) -> &ToolRegistry {
        &self.tools
    }

    /// Its skills, which may come and go.
    pub fn skills(&self) -> &Skills {
        &self.skills
    }
}

fn budget(config: &AgentConfig, store: &Store) -> Result<Option<Arc<Budget>>, AgentError> {
    let zone = TimeZone::get(&config.time_zone).map_err(|_| AgentError::TimeZone {
        agent: config.name.clone(),
        name: config.time_zone.clone(),
    })?;
    let Some(limit) = config.limits.daily_tokens else {
        return Ok(None);
    };
    let budget = Arc::new(Budget::new(limit, zone, store.space("tokens")));
    // What was used before the process began shows in its metrics from the beginning.
    let asked = Arc::clone(&budget);
    tokio::spawn(async move { asked.look().await });
    Ok(Some(budget))
}
