//! Refuses prompts, hooks and handoffs.

use rockbot_agent_config::{HookEvent, Template};
use rockbot_crds::{
    AgentSpec,
    skills::{self, FailurePolicy, HandoffType, Prompt},
};

use super::{Problems, count, is_label};
use crate::{
    endpoint::Endpoint,
    valid::skills::{Handoff, HandoffTo, Hook, Skills},
};

/// Seconds that an agent has when nothing else is said: as long as a request to it may take by default.
const AGENT_TIMEOUT: i32 = 300;
/// Seconds that a service has when nothing else is said.
const SERVICE_TIMEOUT: i32 = 60;

/// Checks what the Agent `name` declares without code.
pub(super) fn skills(spec: &AgentSpec, name: &str, problems: &mut Problems) -> Skills {
    let AgentSpec {
        prompts,
        hooks,
        handoffs,
        ..
    } = spec;
    for prompt in prompts {
        self::prompt(prompt, problems);
    }
    Skills {
        prompts: prompts.clone(),
        hooks: hooks.iter().filter_map(|spec| hook(spec, problems)).collect(),
        handoffs: handoffs
            .iter()
            .filter_map(|spec| handoff(spec, name, problems))
            .collect(),
    }
}

fn prompt(spec: &Prompt, problems: &mut Problems) {
    let field = format!("spec.prompts[{}]", spec.name);
    problems.parsed(&format!("{field}.template"), Template::parse(&spec.template));
}

fn hook(spec: &skills::Hook, problems: &mut Problems) -> Option<Hook> {
    let field = format!("spec.hooks[{}]", spec.name);
    if spec.event == skills::HookEvent::FinalizeConnection && spec.failure_policy == FailurePolicy::Fail {
        problems.add(
            &format!("{field}.failurePolicy"),
            "is Fail, which has nothing to stop at finalize_connection: the request is over".into(),
        );
    }
    let event = problems.parsed(&format!("{field}.event"), event(spec.event));
    let endpoint = problems.parsed(&format!("{field}.url"), Endpoint::parse(&spec.url));
    Some(Hook {
        name: spec.name.clone(),
        event: event?,
        priority: spec.priority,
        scope: spec.scope.clone(),
        url: spec.url.clone(),
        endpoint: endpoint?,
        timeout_seconds: count(spec.timeout_seconds),
        failure_policy: spec.failure_policy,
        signing_key: spec.secret_key_ref.clone(),
    })
}

fn event(event: skills::HookEvent) -> Result<HookEvent, String> {
    use skills::HookEvent as Spec;
    Ok(match event {
        Spec::OnConnection => HookEvent::OnConnection,
        Spec::OnChunk => {
            let message = "is on_chunk, which would be a request for every word of an answer; use on_message, or write \
                           the hook in Rust";
            return Err(message.into());
        }
        Spec::OnMessage => HookEvent::OnMessage,
        Spec::BeforeToolcall => HookEvent::BeforeToolcall,
        Spec::AfterToolcall => HookEvent::AfterToolcall,
        Spec::BeforeHandoff => HookEvent::BeforeHandoff,
        Spec::AfterHandoff => HookEvent::AfterHandoff,
        Spec::FinalizeConnection => HookEvent::FinalizeConnection,
    })
}

fn handoff(spec: &skills::Handoff, agent: &str, problems: &mut Problems) -> Option<Handoff> {
    let field = format!("spec.handoffs[{}]", spec.name);
    absent_fields(&field, spec, problems);
    if spec.description.trim().is_empty() {
        let message = "is empty; the model chooses a handoff by its description";
        problems.add(&format!("{field}.description"), message.into());
    }
    let default = if spec.type_ == HandoffType::Agent {
        AGENT_TIMEOUT
    } else {
        SERVICE_TIMEOUT
    };
    let target_field = format!("{field}.target");
    let target = || {
        spec.target
            .clone()
            .ok_or_else(|| format!("is required when type is {:?}", spec.type_))
    };
    let to = match spec.type_ {
        HandoffType::Human => HandoffTo::Human,
        HandoffType::Agent => HandoffTo::Agent {
            name: problems.parsed(&target_field, target().and_then(|target| other_agent(target, agent)))?,
            key: spec.secret_key_ref.clone(),
        },
        HandoffType::Service => {
            let url = problems.parsed(&target_field, target())?;
            HandoffTo::Service {
                endpoint: problems.parsed(&target_field, Endpoint::parse(&url))?,
                url,
                key: spec.secret_key_ref.clone(),
                signing_key: spec.signing_key_ref.clone(),
            }
        }
    };
    Some(Handoff {
        name: spec.name.clone(),
        description: spec.description.clone(),
        scope: spec.scope.clone(),
        timeout_seconds: count(spec.timeout_seconds.unwrap_or(default)),
        to,
    })
}

fn absent_fields(field: &str, spec: &skills::Handoff, problems: &mut Problems) {
    let is_human = spec.type_ == HandoffType::Human;
    for (name, wrong, why) in [
        (
            "target",
            is_human && spec.target.is_some(),
            "a Human is whoever talks to the agent",
        ),
        (
            "secretKeyRef",
            is_human && spec.secret_key_ref.is_some(),
            "for a Human nobody is called",
        ),
        (
            "timeoutSeconds",
            is_human && spec.timeout_seconds.is_some(),
            "for a Human nobody is called",
        ),
        (
            "signingKeyRef",
            spec.type_ != HandoffType::Service && spec.signing_key_ref.is_some(),
            "only requests to a Service are signed",
        ),
    ] {
        if wrong {
            problems.add(&format!("{field}.{name}"), format!("must be absent: {why}"));
        }
    }
}

fn other_agent(target: String, agent: &str) -> Result<String, String> {
    if target == agent {
        Err("is the agent itself; a handoff goes to somebody else".into())
    } else if is_label(&target, super::LONGEST_NAME) {
        Ok(target)
    } else {
        Err(format!(
            "is {target:?}; allowed is the name of an Agent in this namespace"
        ))
    }
}
