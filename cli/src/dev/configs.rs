//! Manifests → what the agent server runs, by the operator's own `plan`. Pure.

use anyhow::Context;
use rockbot_agent_config::AgentConfig;
use rockbot_crds::model::SecretKeyRef;
use rockbot_operator_plan::{Resolution, agent_config, resolve, validate_agent};

use super::{manifests::Manifests, secrets::SecretFiles};

/// The configuration of every agent, and notes about what one machine cannot do for them.
///
/// # Errors
/// When an Agent is invalid: its name, the field, what is allowed.
pub(super) fn of(manifests: &Manifests, secrets: &SecretFiles) -> anyhow::Result<(Vec<AgentConfig>, Vec<String>)> {
    let mut notes: Vec<_> = manifests
        .ignored
        .iter()
        .map(|object| format!("{object} is left alone"))
        .collect();
    let mut configs = Vec::new();
    for (name, agent) in &manifests.agents {
        let valid = validate_agent(agent).with_context(|| format!("Agent {name}"))?;
        // A server in an image needs a cluster; here it is as good as missing.
        let servers = resolve(&valid, |name| {
            manifests
                .mcp_servers
                .get(name)
                .filter(|server| server.spec.remote.is_some())
        });
        let config = agent_config(&valid, &servers, |_, key| secrets.path(&key.name, &key.key));
        for resolution in &servers.0 {
            if let Resolution::Missing { name: server } = resolution {
                notes.push(missing_server(manifests, name, server));
            }
        }
        let callers = valid.access.api_keys.iter().map(|key| &key.secret_key_ref);
        for key in valid.models().filter_map(|model| model.api_key.as_ref()).chain(callers) {
            let given = manifests
                .secrets
                .get(&key.name)
                .is_some_and(|values| values.contains_key(&key.key));
            if !given {
                notes.push(missing_key(name, key));
            }
        }
        configs.push(config);
    }
    Ok((configs, notes))
}

fn missing_server(manifests: &Manifests, agent: &str, server: &str) -> String {
    let why = if manifests.mcp_servers.contains_key(server) {
        "runs in an image, which needs a cluster; on one machine give it spec.remote.url"
    } else {
        "is in none of the manifests"
    };
    format!("Agent {agent} goes without the tools of McpServer {server}: it {why}")
}

fn missing_key(agent: &str, key: &SecretKeyRef) -> String {
    format!(
        "Agent {agent} has no API key: add a Secret {} with the key {} to the manifests, for example with a second -f",
        key.name, key.key
    )
}
