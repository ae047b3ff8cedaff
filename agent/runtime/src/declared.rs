//! What a manifest declares without code: prompts, webhooks and handoffs. They are one skill, which joins an agent as
//! those that are written in Rust do.

mod handoff;
mod prompt;
mod webhook;

use std::sync::Arc;

use rockbot_agent_config::AgentConfig;
use url::Url;

use crate::{
    outbound::Outbound,
    peers::Peers,
    skills::{Parts, Skill},
};

/// Name of the skill.
const NAME: &str = "spec";

/// The skill.
pub(crate) struct Declared {
    prompts: Vec<prompt::Declared>,
    hooks: Vec<Arc<webhook::Declared>>,
    handoffs: Vec<handoff::Declared>,
}

/// What a manifest declares and cannot be.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// Path of the field.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Declared {
    /// What `config` declares, if anything.
    ///
    /// # Errors
    /// When a template or a URL is none.
    pub(crate) fn of(
        config: &AgentConfig,
        outbound: &Arc<Outbound>,
        peers: &Arc<Peers>,
    ) -> Result<Option<Arc<Self>>, Wrong> {
        let AgentConfig {
            prompts,
            hooks,
            handoffs,
            ..
        } = config;
        if prompts.is_empty() && hooks.is_empty() && handoffs.is_empty() {
            return Ok(None);
        }
        let prompts = prompts.iter().map(prompt::Declared::new);
        let hooks = hooks
            .iter()
            .map(|hook| webhook::Declared::new(hook, outbound).map(Arc::new));
        let handoffs = handoffs
            .iter()
            .map(|handoff| handoff::Declared::new(handoff, outbound, peers));
        Ok(Some(Arc::new(Self {
            prompts: prompts.collect::<Result<_, _>>()?,
            hooks: hooks.collect::<Result<_, _>>()?,
            handoffs: handoffs.collect::<Result<_, _>>()?,
        })))
    }
}

impl Skill for Declared {
    fn name(&self) -> &str {
        NAME
    }

    fn parts(self: Arc<Self>) -> Parts {
        Parts {
            tools: self.handoffs.iter().map(handoff::Declared::tool).collect(),
            hooks: self.hooks.iter().map(webhook::Declared::hook).collect(),
            prompts: self.prompts.iter().map(prompt::Declared::prompt).collect(),
        }
    }
}

fn url(field: impl FnOnce() -> String, text: &str) -> Result<Url, Wrong> {
    Url::parse(text).map_err(|error| Wrong {
        field: field(),
        reason: format!("{text:?} is no URL: {error}"),
    })
}
