//! Status of an Agent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rockbot_crds::{
    Agent, AgentStatus,
    conditions::{ConditionType, Reason},
    model::Provider,
};

use super::{Outcome, conditions::Conditions, rollout};
use crate::{
    inputs::{References, Resolution},
    labels::{self, Component},
    names,
};

/// What to report about an Agent.
pub fn agent_status(agent: &Agent, outcome: &Outcome, named: &References, now: &Time) -> AgentStatus {
    let before = agent.status.clone().unwrap_or_default();
    let generation = agent.metadata.generation;
    let conditions = Conditions::new(&before.conditions, generation, now).verdict(&rollout::verdict(outcome));
    let conditions = match references(named) {
        Some((resolved, reason, message)) => conditions.with(ConditionType::ResolvedRefs, resolved, reason, &message),
        None => conditions,
    };
    let name = agent.metadata.name.as_deref().unwrap_or_default();
    let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
    let pods = match outcome {
        Outcome::Applied(deployment) => deployment.as_ref().and_then(|deployment| deployment.status.as_ref()),
        _ => None,
    };
    AgentStatus {
        observed_generation: generation,
        conditions: conditions.into_list(),
        url: Some(names::agent_url(namespace, name, agent.spec.service.port)),
        model: Some(model(agent)),
        tools: Some(tool_names(agent).join(", ")),
        replicas: pods.map_or(before.replicas, |pods| Some(pods.replicas.unwrap_or_default())),
        ready_replicas: pods.map_or(before.ready_replicas, |pods| {
            Some(pods.ready_replicas.unwrap_or_default())
        }),
        selector: Some(labels::to_text(&labels::selector(Component::Agent, name))),
    }
}

/// The tools of an Agent in a person's words: `scripts`, and the names of its MCP servers.
pub fn tool_names(agent: &Agent) -> Vec<String> {
    let tools = &agent.spec.tools;
    let scripts = tools.scripts.iter().map(|_| "scripts".to_owned());
    let servers = tools
        .mcp
        .iter()
        .flat_map(|mcp| &mcp.servers)
        .map(|server| server.name.clone());
    scripts.chain(servers).collect()
}

fn model(agent: &Agent) -> String {
    let model = &agent.spec.model;
    match (model.provider, &model.name) {
        (Provider::Demo, _) => "Demo".into(),
        (_, Some(name)) => name.clone(),
        (provider, None) => format!("{provider:?}"),
    }
}

/// Whether what an agent names is there and ready; nothing when it names nothing.
fn references(named: &References) -> Option<(bool, Reason, String)> {
    let names = |pick: fn(&Resolution) -> Option<&String>| {
        let names: Vec<_> = named.servers.iter().filter_map(pick).map(String::as_str).collect();
        names.join(", ")
    };
    let missing = names(|resolution| match resolution {
        Resolution::Missing { name } => Some(name),
        Resolution::Found { .. } => None,
    });
    let unready = names(|resolution| match resolution {
        Resolution::Found { server, ready: false } => Some(&server.name),
        _ => None,
    });
    let strangers = named.missing_agents().collect::<Vec<_>>().join(", ");
    if named.servers.is_empty() && named.agents.is_empty() {
        return None;
    }
    Some(if !missing.is_empty() {
        let message = format!("no usable McpServer in this namespace: {missing}; the agent runs without their tools");
        (false, Reason::McpServerNotFound, message)
    } else if !strangers.is_empty() {
        let message = format!("no Agent in this namespace: {strangers}; handoffs to them fail until there is one");
        (false, Reason::AgentNotFound, message)
    } else if !unready.is_empty() {
        let message = format!("McpServers that are not ready: {unready}; their tools are missing until they are");
        (false, Reason::McpServerNotReady, message)
    } else {
        (
            true,
            Reason::Resolved,
            "everything that the agent names is there and ready".into(),
        )
    })
}
