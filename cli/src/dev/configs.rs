//! Manifests → what the agent server runs, by the operator's own `plan`. Pure.

use std::path::Path;

use anyhow::Context;
use rockbot_agent_config::AgentConfig;
use rockbot_crds::model::SecretKeyRef;
use rockbot_operator_plan::{Resolution, agent_config, keys, resolve, validate_agent, validate_mcp_server};

use super::{manifests::Manifests, secrets::SecretFiles};

/// The configuration of every agent, what it keeps in a folder of `state_dir`, and notes about what one machine cannot do for them.
///
/// # Errors
/// When an Agent or an McpServer is invalid: its name, the field, what is allowed.
pub(super) fn of(
    manifests: &Manifests,
    secrets: &SecretFiles,
    state_dir: &Path,
) -> anyhow::Result<(Vec<AgentConfig>, Vec<String>)> {
    let mut notes: Vec<_> = manifests
        .ignored
        .iter()
        .map(|object| format!("{object} is left alone"))
        .collect();
    for (name, server) in &manifests.mcp_servers {
        validate_mcp_server(server).with_context(|| format!("McpServer {name}"))?;
    }
    let mut configs = Vec::new();
    for (name, agent) in &manifests.agents {
        let valid = validate_agent(agent).with_context(|| format!("Agent {name}"))?;
        // A server in an image needs a cluster; here it is as good as missing.
        let server = |name: &str| {
            let server = manifests.mcp_servers.get(name);
            server.filter(|server| server.spec.remote.is_some())
        };
        let named = resolve(&valid, server, |name| manifests.agents.contains_key(name));
        let config = agent_config(
            &valid,
            &named,
            |_, key| secrets.path(&key.name, &key.key),
            state_dir.join(name),
        );
        let missing = named.missing_agents();
        notes.extend(
            missing.map(|other| {
                format!("Agent {name} cannot hand tasks to Agent {other}: it is in none of the manifests")
            }),
        );
        for resolution in &named.servers {
            if let Resolution::Missing { name: server } = resolution {
                notes.push(missing_server(manifests, name, server));
            }
        }
        for (_, key) in keys(&valid) {
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
        "Agent {agent} lacks a key: add a Secret {} with the key {} to the manifests, for example with a second -f",
        key.name, key.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::manifests::{Manifests, read};

    #[test]
    fn what_no_cluster_would_take_is_refused_here_too() {
        let secrets = SecretFiles::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        for (kind, name, spec, expected) in [
            (
                "Agent",
                "a",
                "{ model: { provider: OpenAI, name: m, apiKey: { secretKeyRef: { name: s, key: /home/me/.vault-token } } } }",
                "spec.model.apiKey.secretKeyRef.key",
            ),
            (
                "Agent",
                "a",
                "{ model: { provider: Demo }, access: { apiKeys: [{ name: k, scope: all, secretKeyRef: { name: .., key: k } }] } }",
                "spec.access.apiKeys[0].secretKeyRef.name",
            ),
            ("Agent", "a.b", "{ model: { provider: Demo } }", "metadata.name"),
            ("McpServer", "A", "{ remote: { url: 'http://x/' } }", "metadata.name"),
            (
                "McpServer",
                "m",
                "{ remote: { url: 'http://x/?key=1' } }",
                "spec.remote.url",
            ),
        ] {
            let text = format!(
                "{{ apiVersion: rockbot.dev/v1alpha1, kind: {kind}, metadata: {{ name: {name} }}, spec: {spec} }}"
            );
            std::fs::write(&file, text).unwrap();
            let manifests = Manifests::of(&read(std::slice::from_ref(&file)).unwrap()).unwrap();
            let error = of(&manifests, &secrets, Path::new("/nowhere")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(expected) && error.contains(kind), "{error}");
        }
    }
}
