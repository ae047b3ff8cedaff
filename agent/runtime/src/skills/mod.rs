//! Skills: bundles of tools, hooks, prompts and handoffs that join an agent together and leave it together.
//!
//! [`skill`](rockbot_agent_macros::skill) writes the implementation of [`Skill`] for an `impl` block; what it generates
//! calls [`function`]. Tools and handoffs join the agent's one registry of tools; hooks and prompts are kept here.

pub mod function;
mod handoff;
mod hook;
mod prompt;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
pub use handoff::{HandoffResult, HandoffType};
pub(crate) use hook::{Finalizer, Hooks};
pub use hook::{Hook, HookEvent, HookFailure, HookFn, Occasion, Stopped};
pub(crate) use prompt::system_message;
pub use prompt::{Prompt, PromptFn};
use thiserror::Error;

use crate::tools::{RegisterError, ToolExecutor, ToolRegistration, ToolRegistry};

/// Something that an agent can do, as one piece of code.
///
/// It belongs to a process and may serve several agents and any number of requests at once; what belongs to one request
/// is kept in its [`Context`](crate::Context).
pub trait Skill: Send + Sync + 'static {
    /// Name of the skill; unique among those of an agent.
    fn name(&self) -> &str;

    /// What it consists of. Asked for once, when the skill is added to an agent.
    fn parts(self: Arc<Self>) -> Parts;
}

/// What a skill consists of.
#[derive(Default)]
pub struct Parts {
    /// Tools and handoffs. Their source is the skill, whatever they say.
    pub tools: Vec<(ToolRegistration, Arc<dyn ToolExecutor>)>,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// Prompts.
    pub prompts: Vec<Prompt>,
}

/// Why a skill was not added. Nothing of it is then registered.
#[derive(Debug, Error)]
pub enum SkillError {
    /// There is a skill of that name.
    #[error("a skill named {0:?} is there already; names are unique among an agent's skills")]
    Duplicate(String),
    /// One of its tools cannot be registered.
    #[error("skill {skill:?}: {source}")]
    Tool {
        /// The skill.
        skill: String,
        /// What is wrong.
        source: RegisterError,
    },
}

/// The skills of an agent. They come and go while requests run; a request keeps those that it began with.
pub struct Skills {
    tools: Arc<ToolRegistry>,
    present: ArcSwap<Present>,
    /// Held by who adds or removes: readers never wait.
    writing: Mutex<()>,
}

/// Skills at one moment.
#[derive(Clone, Default)]
pub(crate) struct Present {
    names: BTreeSet<String>,
    /// The higher priority first.
    hooks: BTreeMap<HookEvent, Vec<Arc<Hook>>>,
    /// The lower priority first.
    prompts: Vec<Arc<Prompt>>,
}

impl Skills {
    /// No skills yet; their tools will go to `tools`.
    pub(crate) fn new(tools: Arc<ToolRegistry>) -> Self {
        Self {
            tools,
            present: ArcSwap::default(),
            writing: Mutex::default(),
        }
    }

    /// Adds `skill` and all of its parts, or nothing.
    ///
    /// # Errors
    /// When the name of the skill or of one of its tools is taken, or a schema is none.
    pub fn add(&self, skill: Arc<dyn Skill>) -> Result<(), SkillError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let name = skill.name().to_owned();
        let mut present = Present::clone(&self.present.load());
        if !present.names.insert(name.clone()) {
            return Err(SkillError::Duplicate(name));
        }
        let Parts { tools, hooks, prompts } = skill.parts();
        let tools = tools.into_iter().map(|(registration, executor)| {
            let source = name.clone();
            (ToolRegistration { source, ..registration }, executor)
        });
        self.tools
            .register_all(tools.collect())
            .map_err(|source| SkillError::Tool {
                skill: name.clone(),
                source,
            })?;
        present.extend(&name, hooks, prompts);
        self.present.store(Arc::new(present));
        Ok(())
    }

    /// Removes a skill and all of its parts, if there is one. Requests that run keep it.
    pub fn remove(&self, name: &str) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = Present::clone(&self.present.load());
        if present.names.remove(name) {
            self.tools.unregister_source(name);
            present
                .hooks
                .values_mut()
                .for_each(|hooks| hooks.retain(|hook| hook.skill != name));
            present.prompts.retain(|prompt| prompt.skill != name);
            self.present.store(Arc::new(present));
        }
    }

    /// Names of the skills, in order.
    pub fn names(&self) -> Vec<String> {
        self.present.load().names.iter().cloned().collect()
    }

    /// The skills at this moment.
    pub(crate) fn snapshot(&self) -> Arc<Present> {
        self.present.load_full()
    }
}

impl Present {
    /// Prompts, in the order in which they speak.
    pub(crate) fn prompts(&self) -> &[Arc<Prompt>] {
        &self.prompts
    }

    fn hooks(&self, event: HookEvent) -> &[Arc<Hook>] {
        self.hooks.get(&event).map_or(&[], Vec::as_slice)
    }

    /// Parts of the same priority keep the order in which they came.
    fn extend(&mut self, skill: &str, hooks: Vec<Hook>, prompts: Vec<Prompt>) {
        for mut hook in hooks {
            skill.clone_into(&mut hook.skill);
            let same = self.hooks.entry(hook.event).or_default();
            let position = same.partition_point(|other| other.priority >= hook.priority);
            same.insert(position, Arc::new(hook));
        }
        for mut prompt in prompts {
            skill.clone_into(&mut prompt.skill);
            let position = self.prompts.partition_point(|other| other.priority <= prompt.priority);
            self.prompts.insert(position, Arc::new(prompt));
        }
    }
}
