//! The directory of an agent's tools. Tools come and go at run time; who reads it gets a set that no longer changes.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use jsonschema::Validator;
use rockbot_llm::chat;
use serde_json::Value;
use thiserror::Error;

use super::{ToolExecutor, ToolRegistration};

/// The tools at one moment, by name: in this order they are offered, so that a provider's prompt cache holds.
pub type ToolSet = BTreeMap<String, Arc<Tool>>;

/// Central directory of an agent's tools.
#[derive(Default)]
pub struct ToolRegistry {
    tools: ArcSwap<ToolSet>,
}

/// A registered tool.
pub struct Tool {
    /// What the model learns about it.
    pub registration: ToolRegistration,
    /// What runs it.
    pub executor: Arc<dyn ToolExecutor>,
    validator: Validator,
}

/// Why a tool was not registered.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The name is taken.
    #[error("a tool named {name:?} is registered already, by {source_name}; names are unique among an agent's tools")]
    Duplicate {
        /// The name.
        name: String,
        /// Source of the tool that has it.
        source_name: String,
    },
    /// The schema cannot be used to check arguments.
    #[error("the parameters schema of tool {name:?} is no JSON Schema: {reason}")]
    Schema {
        /// The tool.
        name: String,
        /// What is wrong with its schema.
        reason: String,
    },
}

impl ToolRegistry {
    /// All tools, by name.
    pub fn get_tools(&self) -> Vec<ToolRegistration> {
        self.snapshot().values().map(|tool| tool.registration.clone()).collect()
    }

    /// What runs the tool `name`, if there is one.
    pub fn get_executor(&self, name: &str) -> Option<Arc<dyn ToolExecutor>> {
        self.snapshot().get(name).map(|tool| Arc::clone(&tool.executor))
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// When the name is taken or the schema is none.
    pub fn register(
        &self,
        registration: ToolRegistration,
        executor: Arc<dyn ToolExecutor>,
    ) -> Result<(), RegisterError> {
        let tool = Arc::new(Tool::new(registration, executor)?);
        let mut taken = None;
        self.tools.rcu(|tools| {
            taken = tools
                .get(&tool.registration.name)
                .map(|other| other.registration.source.clone());
            let mut tools = ToolSet::clone(tools);
            tools
                .entry(tool.registration.name.clone())
                .or_insert_with(|| Arc::clone(&tool));
            tools
        });
        match taken {
            None => Ok(()),
            Some(source_name) => Err(RegisterError::Duplicate {
                name: tool.registration.name.clone(),
                source_name,
            }),
        }
    }

    /// Removes a tool, if there is one. Calls that run are not disturbed.
    pub fn unregister(&self, name: &str) {
        self.tools.rcu(|tools| {
            let mut tools = ToolSet::clone(tools);
            tools.remove(name);
            tools
        });
    }

    /// The tools at this moment.
    pub fn snapshot(&self) -> Arc<ToolSet> {
        self.tools.load_full()
    }
}

impl Tool {
    fn new(registration: ToolRegistration, executor: Arc<dyn ToolExecutor>) -> Result<Self, RegisterError> {
        let validator =
            jsonschema::validator_for(&registration.parameters_schema).map_err(|error| RegisterError::Schema {
                name: registration.name.clone(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            registration,
            executor,
            validator,
        })
    }

    /// What is wrong with `arguments`, the first few complaints; `None` when they are valid.
    pub(super) fn complaint(&self, arguments: &Value) -> Option<String> {
        const SHOWN: usize = 3;
        let complaints: Vec<_> = self
            .validator
            .iter_errors(arguments)
            .take(SHOWN)
            .map(complaint)
            .collect();
        (!complaints.is_empty()).then(|| complaints.join("; "))
    }

    /// The tool as it is offered to a model.
    pub fn offer(&self) -> chat::Tool {
        let ToolRegistration {
            name,
            description,
            parameters_schema,
            ..
        } = &self.registration;
        chat::Tool::function(name, description, parameters_schema.clone())
    }
}

fn complaint(error: jsonschema::ValidationError<'_>) -> String {
    match error.instance_path().to_string() {
        path if path.is_empty() => error.to_string(),
        path => format!("{}: {error}", path.trim_start_matches('/')),
    }
}
