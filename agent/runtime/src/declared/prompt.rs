//! Templates as prompts.

use std::sync::Arc;

use rockbot_agent_config::{PromptConfig, Template};

use super::Wrong;
use crate::{
    Context,
    scope::Scope,
    skills::{Prompt, function},
};

/// A declared prompt.
pub(super) struct Declared {
    config: PromptConfig,
    template: Arc<Template>,
}

impl Declared {
    pub(super) fn new(config: &PromptConfig) -> Result<Self, Wrong> {
        let template = Template::parse(&config.template).map_err(|reason| Wrong {
            field: format!("prompts[{}].template", config.name),
            reason,
        })?;
        Ok(Self {
            config: config.clone(),
            template: Arc::new(template),
        })
    }

    pub(super) fn prompt(&self) -> Prompt {
        let template = Arc::clone(&self.template);
        Prompt {
            name: self.config.name.clone(),
            skill: String::new(),
            priority: self.config.priority,
            scope: Scope::any_of([&self.config.scope]),
            write: function::prompt(move |context: Context| {
                let template = Arc::clone(&template);
                Box::pin(async move { template.render(&context.variables()) })
            }),
        }
    }
}
