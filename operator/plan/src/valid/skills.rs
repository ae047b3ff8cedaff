//! What an Agent declares without code, without mistakes.

use rockbot_agent_config::HookEvent;
use rockbot_crds::{
    model::SecretKeyRef,
    skills::{FailurePolicy, Prompt},
};

use crate::endpoint::Endpoint;

/// Prompts, hooks and handoffs of an Agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Skills {
    /// Prompts. Their templates can be read.
    pub prompts: Vec<Prompt>,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// Handoffs.
    pub handoffs: Vec<Handoff>,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Name.
    pub name: String,
    /// When it is called.
    pub event: HookEvent,
    /// The higher runs first.
    pub priority: i32,
    /// For whose requests.
    pub scope: String,
    /// Where it is.
    pub url: String,
    /// How the agent's packets get there.
    pub endpoint: Endpoint,
    /// Seconds of a call.
    pub timeout_seconds: u32,
    /// What a failure means.
    pub failure_policy: FailurePolicy,
    /// Secret with the key that signs calls.
    pub signing_key: Option<SecretKeyRef>,
}

/// Somebody to whom the model can hand a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Handoff {
    /// Name by which the model calls it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// For whose requests.
    pub scope: String,
    /// Seconds that it may take.
    pub timeout_seconds: u32,
    /// To whom.
    pub to: HandoffTo,
}

/// To whom a handoff goes.
#[derive(Clone, Debug, PartialEq)]
pub enum HandoffTo {
    /// Another agent of the namespace.
    Agent {
        /// Its name.
        name: String,
        /// Secret with a key that it accepts.
        key: Option<SecretKeyRef>,
    },
    /// Whoever talks to the agent.
    Human,
    /// A service.
    Service {
        /// Where it is.
        url: String,
        /// How the agent's packets get there.
        endpoint: Endpoint,
        /// Secret with the key that is sent.
        key: Option<SecretKeyRef>,
        /// Secret with the key that signs.
        signing_key: Option<SecretKeyRef>,
    },
}

impl Skills {
    /// Names of the agents that are handed tasks.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.handoffs.iter().filter_map(|handoff| match &handoff.to {
            HandoffTo::Agent { name, .. } => Some(name.as_str()),
            HandoffTo::Human | HandoffTo::Service { .. } => None,
        })
    }

    /// What is called by its URL.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let services = self.handoffs.iter().filter_map(|handoff| match &handoff.to {
            HandoffTo::Service { endpoint, .. } => Some(endpoint),
            HandoffTo::Agent { .. } | HandoffTo::Human => None,
        });
        self.hooks.iter().map(|hook| &hook.endpoint).chain(services)
    }
}
