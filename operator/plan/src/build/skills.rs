//! Prompts, hooks and handoffs in the configuration file of an agent's pods.

use std::path::PathBuf;

use rockbot_agent_config::{HandoffConfig, HandoffTarget, HookConfig, PromptConfig};
use rockbot_crds::{
    model::SecretKeyRef,
    skills::{FailurePolicy, Prompt},
};

use super::config::KeyOf;
use crate::valid::skills::{Handoff, HandoffTo, Hook, Skills};

/// Every key that hooks and handoffs need.
pub(super) fn keys(skills: &Skills) -> impl Iterator<Item = (KeyOf<'_>, &SecretKeyRef)> {
    let hooks = skills.hooks.iter();
    let hooks = hooks.filter_map(|hook| Some((KeyOf::Hook(&hook.name), hook.signing_key.as_ref()?)));
    let handoffs = skills.handoffs.iter().flat_map(|Handoff { name, to, .. }| {
        let (key, signing_key) = match to {
            HandoffTo::Human => (None, None),
            HandoffTo::Agent { key, .. } => (key.as_ref(), None),
            HandoffTo::Service { key, signing_key, .. } => (key.as_ref(), signing_key.as_ref()),
        };
        let key = key.map(|key| (KeyOf::Handoff(name), key));
        key.into_iter()
            .chain(signing_key.map(|key| (KeyOf::HandoffSigning(name), key)))
    });
    hooks.chain(handoffs)
}

pub(super) fn prompts(skills: &Skills) -> Vec<PromptConfig> {
    let config = |prompt: &Prompt| PromptConfig {
        name: prompt.name.clone(),
        priority: prompt.priority,
        scope: prompt.scope.clone(),
        template: prompt.template.clone(),
    };
    skills.prompts.iter().map(config).collect()
}

pub(super) fn hooks(skills: &Skills, key_file: impl Fn(KeyOf<'_>, &SecretKeyRef) -> PathBuf) -> Vec<HookConfig> {
    let config = |hook: &Hook| HookConfig {
        name: hook.name.clone(),
        event: hook.event,
        priority: hook.priority,
        scope: hook.scope.clone(),
        url: hook.url.clone(),
        timeout_seconds: hook.timeout_seconds,
        must_succeed: hook.failure_policy == FailurePolicy::Fail,
        signing_key_file: hook
            .signing_key
            .as_ref()
            .map(|key| key_file(KeyOf::Hook(&hook.name), key)),
    };
    skills.hooks.iter().map(config).collect()
}

pub(super) fn handoffs(skills: &Skills, key_file: impl Fn(KeyOf<'_>, &SecretKeyRef) -> PathBuf) -> Vec<HandoffConfig> {
    let to = |name: &str, to: &HandoffTo| match to {
        HandoffTo::Human => HandoffTarget::Human,
        HandoffTo::Agent { name: agent, key } => HandoffTarget::Agent {
            name: agent.clone(),
            key_file: key.as_ref().map(|key| key_file(KeyOf::Handoff(name), key)),
        },
        HandoffTo::Service {
            url, key, signing_key, ..
        } => HandoffTarget::Service {
            url: url.clone(),
            key_file: key.as_ref().map(|key| key_file(KeyOf::Handoff(name), key)),
            signing_key_file: signing_key
                .as_ref()
                .map(|key| key_file(KeyOf::HandoffSigning(name), key)),
        },
    };
    let config = |handoff: &Handoff| HandoffConfig {
        name: handoff.name.clone(),
        description: handoff.description.clone(),
        scope: handoff.scope.clone(),
        timeout_seconds: handoff.timeout_seconds,
        to: to(&handoff.name, &handoff.to),
    };
    skills.handoffs.iter().map(config).collect()
}
