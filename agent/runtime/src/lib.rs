//! The agent runtime: what an agent is while it runs, its turns and its tools.
//!
//! Knows nothing of HTTP servers, of Kubernetes or of where scripts run. Nothing here is shared between two agents
//! except what the [`Environment`] hands to both, and nothing that one request does changes another.

mod kept;
mod mcp;
mod metrics;
mod run;
pub mod tools;
pub mod turn;

use std::{sync::Arc, time::SystemTime};

use kept::Kept;
pub use metrics::Metrics;
use rockbot_agent_config::{AgentConfig, ToolsConfig};
use rockbot_llm::{Model, ModelError};
use rockbot_scripts_api::ScriptRunner;
pub use run::{ToolResult, TurnError, TurnEvent};
use thiserror::Error;
use tools::{Invoker, RegisterError, ToolRegistry, scripts};

/// What the agents of a process may use.
#[derive(Clone, Default)]
pub struct Environment {
    /// Runs scripts; needed by agents that have `tools.scripts` switched on.
    pub scripts: Option<Arc<dyn ScriptRunner>>,
    /// Where they count.
    pub metrics: Metrics,
}

/// Who asks, for logs and for tools. It grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// Identity of the request.
    pub request_id: String,
}

/// A running agent.
pub struct Agent {
    config: AgentConfig,
    model: Arc<dyn Model>,
    tools: Arc<ToolRegistry>,
    invoker: Invoker,
    kept: Kept,
    started: SystemTime,
    /// Ends with the agent.
    _mcp: mcp::Connections,
}

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
    /// A tool cannot be registered.
    #[error("agent {agent}: {source}")]
    Tool {
        /// The agent.
        agent: String,
        /// What is wrong.
        source: RegisterError,
    },
}

impl Agent {
    /// Starts an agent inside a tokio runtime. MCP servers are connected in the background, and until they are the
    /// agent works without their tools; it all ends when the last reference is dropped.
    ///
    /// # Errors
    /// [`AgentError`] naming the agent and the field.
    pub fn start(config: AgentConfig, environment: &Environment) -> Result<Arc<Self>, AgentError> {
        let model = rockbot_llm::connect(&config.model).map_err(|source| AgentError::Model {
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
        let tools = Arc::new(ToolRegistry::default());
        let ToolsConfig { scripts, mcp } = &config.tools;
        if let Some(settings) = scripts {
            let runner = environment
                .scripts
                .clone()
                .ok_or_else(|| AgentError::NoScripts(config.name.clone()))?;
            let tool = Arc::new(scripts::ScriptTool::new(runner, settings));
            tools
                .register(scripts::registration(settings), tool)
                .map_err(|source| AgentError::Tool {
                    agent: config.name.clone(),
                    source,
                })?;
        }
        Ok(Arc::new(Self {
            model,
            invoker: Invoker::new(environment.metrics.clone()),
            kept: Kept::default(),
            started: SystemTime::now(),
            _mcp: mcp::connect(mcp, &tools),
            tools,
            config,
        }))
    }

    /// What the agent was started with.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// When it was started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Its tools, which may come and go.
    pub fn tools(&self) -> &ToolRegistry {
        &self.tools
    }
}
