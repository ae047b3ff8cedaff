//! The directory of an agent's tools. Tools come and go at run time; who reads it gets a set that no longer changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

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
    validator: OnceLock<Result<Validator, String>>,
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
        self.register_all(vec![(registration, executor)])
    }

    /// Adds all of these tools, or none.
    ///
    /// # Errors
    /// When a name is taken or a schema is none.
    pub fn register_all(&self, tools: Vec<(ToolRegistration, Arc<dyn ToolExecutor>)>) -> Result<(), RegisterError> {
        let added = tools
            .into_iter()
            .map(|(registration, executor)| Tool::new(registration, executor).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        self.insert_all(&added)
    }

    fn insert_all(&self, added: &[Arc<Tool>]) -> Result<(), RegisterError> {
        let mut result = Ok(());
        self.tools.rcu(|present| {
            let mut tools = ToolSet::clone(present);
            result = added.iter().try_for_each(|tool| insert(&mut tools, tool));
            if result.is_ok() {
                Arc::new(tools)
            } else {
                Arc::clone(present)
            }
        });
        result
    }

    /// Adds a tool of RockBot itself, whose schema tests have checked: what checks arguments is made with the first call.
    /// It takes megabytes, which an idle agent does without.
    ///
    /// # Errors
    /// When the name is taken.
    pub(crate) fn register_own(
        &self,
        registration: ToolRegistration,
        executor: Arc<dyn ToolExecutor>,
    ) -> Result<(), RegisterError> {
        self.insert_all(&[Arc::new(Tool {
            registration,
            executor,
            validator: OnceLock::new(),
        })])
    }

    /// Removes a tool, if there is one. Calls that run are not disturbed.
    pub fn unregister(&self, name: &str) {
        self.retain(|tool| tool.name != name);
    }

    /// Removes all tools from `source`.
    pub fn unregister_source(&self, source: &str) {
        self.retain(|tool| tool.source != source);
    }

    fn retain(&self, stays: impl Fn(&ToolRegistration) -> bool) {
        self.tools.rcu(|present| {
            let mut tools = ToolSet::clone(present);
            tools.retain(|_, tool| stays(&tool.registration));
            tools
        });
    }

    /// The tools at this moment.
    pub fn snapshot(&self) -> Arc<ToolSet> {
        self.tools.load_full()
    }
}

fn insert(tools: &mut ToolSet, tool: &Arc<Tool>) -> Result<(), RegisterError> {
    let name = &tool.registration.name;
    match tools.insert(name.clone(), Arc::clone(tool)) {
        None => Ok(()),
        Some(other) => Err(RegisterError::Duplicate {
            name: name.clone(),
            source_name: other.registration.source.clone(),
        }),
    }
}

impl Tool {
    fn new(registration: ToolRegistration, executor: Arc<dyn ToolExecutor>) -> Result<Self, RegisterError> {
        let validator = compile(&registration.parameters_schema).map_err(|reason| RegisterError::Schema {
            name: registration.name.clone(),
            reason,
        })?;
        Ok(Self {
            registration,
            executor,
            validator: OnceLock::from(Ok(validator)),
        })
    }

    /// What is wrong with `arguments`, the first few complaints; `None` when they are valid.
    pub(super) fn complaint(&self, arguments: &Value) -> Option<String> {
        const SHOWN: usize = 3;
        let validator = match self
            .validator
            .get_or_init(|| compile(&self.registration.parameters_schema))
        {
            Ok(validator) => validator,
            Err(reason) => return Some(reason.clone()),
        };
        let complaints: Vec<_> = validator.iter_errors(arguments).take(SHOWN).map(complaint).collect();
        (!complaints.is_empty()).then(|| complaints.join("; "))
    }

    /// Whether a caller who holds `scope` may use it.
    pub fn admits(&self, scope: &str) -> bool {
        self.registration.scope.admits(scope)
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

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| error.to_string())
}

fn complaint(error: jsonschema::ValidationError<'_>) -> String {
    match error.instance_path().to_string() {
        path if path.is_empty() => error.to_string(),
        path => format!("{}: {error}", path.trim_start_matches('/')),
    }
}
