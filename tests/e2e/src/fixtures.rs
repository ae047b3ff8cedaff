//! Objects that tests apply: agents, a scripted model, and pods that run a Python program.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{LogParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    namespace::Namespace,
    wait::{Seen, eventually},
};

/// Image of ordinary pods that run Python; Debian's Python under this name in the cluster of `tests/cluster`.
pub const PYTHON_IMAGE: &str = "docker.io/library/python:3.12-slim";

/// An Agent on the Demo model that may run scripts.
pub fn demo_agent(name: &str) -> String {
    format!(
        "
apiVersion: rockbot.dev/v1alpha1
kind: Agent
metadata: {{ name: {name} }}
spec:
  description: Runs Python for whoever asks.
  model: {{ provider: Demo }}
  tools: {{ scripts: {{}} }}
"
    )
}

/// A Pod of Pod Security `restricted` that runs `source` with `env`.
pub fn python_pod(name: &str, labels: &BTreeMap<String, String>, source: &str, env: &[(&str, String)]) -> Result<Pod> {
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let pod = json!({
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "python",
                "image": PYTHON_IMAGE,
                "command": ["python3", "-c", source],
                "env": env,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    });
    Ok(serde_json::from_value(pod)?)
}

/// Starts a pod and returns its IP once it prints `line`.
///
/// # Errors
/// When it does not within half a minute.
pub async fn start_pod(ns: &Namespace, pod: &Pod, line: &str) -> Result<String> {
    let pods: Api<Pod> = ns.api();
    let name = pods
        .create(&PostParams::default(), pod)
        .await?
        .metadata
        .name
        .context("a pod without a name")?;
    eventually(
        &format!("pod {name} prints {line:?}"),
        Duration::from_secs(30),
        async || {
            let log = pods.logs(&name, &LogParams::default()).await?;
            if !log.contains(line) {
                return Ok(Seen::NotYet(log));
            }
            let ip = pods.get(&name).await?.status.and_then(|status| status.pod_ip);
            Ok(ip.map_or_else(|| Seen::NotYet("no IP".to_owned()), Seen::Done))
        },
    )
    .await
}

/// Runs a pod to its end and returns what it printed.
///
/// # Errors
/// When it fails or does not end within a minute.
pub async fn run_pod(ns: &Namespace, pod: &Pod) -> Result<String> {
    let pods: Api<Pod> = ns.api();
    let name = pods
        .create(&PostParams::default(), pod)
        .await?
        .metadata
        .name
        .context("a pod without a name")?;
    let phase = eventually(&format!("pod {name} ends"), Duration::from_secs(60), async || {
        let phase = pods
            .get(&name)
            .await?
            .status
            .and_then(|status| status.phase)
            .unwrap_or_default();
        Ok(if phase == "Succeeded" || phase == "Failed" {
            Seen::Done(phase)
        } else {
            Seen::NotYet(phase)
        })
    })
    .await?;
    let log = pods.logs(&name, &LogParams::default()).await?;
    if phase == "Failed" {
        bail!("pod {name} failed: {log}");
    }
    Ok(log)
}

/// A new pod of `ns` with these labels connects to each target, `{"name": "host:port"}`; says of each what came of it.
///
/// # Errors
/// When the pod cannot run.
pub async fn knock(ns: &Namespace, labels: &BTreeMap<String, String>, targets: &Value) -> Result<Value> {
    let source = include_str!("../python/knock.py");
    let mut pod = python_pod("knock", labels, source, &[("TARGETS", targets.to_string())])?;
    pod.metadata.name = None;
    pod.metadata.generate_name = Some("knock-".to_owned());
    Ok(serde_json::from_str(&run_pod(ns, &pod).await?)?)
}

/// What [`knock`] says of a target behind a wall.
pub const NO_ANSWER: &str = "no answer";

/// The labels of the pods of an Agent, by which its NetworkPolicy knows them.
pub fn agent_labels(name: &str) -> BTreeMap<String, String> {
    [("name", "rockbot-agent"), ("instance", name), ("component", "agent")]
        .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
        .into()
}

/// The Secret with the key that agents send to the scripted model.
pub const MODEL_KEY: &str = "
apiVersion: v1
kind: Secret
metadata: { name: model-key }
stringData: { key: sk-scripted }
";

/// Starts the scripted model as Service `model` of the namespace.
///
/// # Errors
/// When it cannot be applied.
pub async fn start_model(ns: &Namespace) -> Result<()> {
    ns.apply(MODEL_KEY).await?;
    ns.apply(include_str!("model.yaml")).await?;
    ns.kubectl(&["rollout", "status", "deployment/model", "--timeout=60s"])
        .await
        .map(drop)
}

/// Base URL of the scripted model with `scenario`.
pub fn model_url(ns: &Namespace, scenario: &str) -> String {
    format!("http://model.{}.svc:8080/{scenario}/v1", ns.name)
}

/// An Agent on the scripted model at `url` that may run scripts. Its key is in [`MODEL_KEY`].
pub fn scripted_agent(name: &str, url: &str) -> String {
    agent_on(name, url, "{ scripts: { timeoutSeconds: 30 } }")
}

/// An Agent as [`scripted_agent`] that answers only those who hold [`MODEL_KEY`], and may ask them.
pub fn guarded_agent(name: &str, url: &str) -> String {
    let handoffs = "[{ name: ask-customer, type: Human, description: Asks what only the customer knows. }]";
    format!(
        "{}  access: {MODEL_KEY_ONLY}\n  handoffs: {handoffs}\n",
        scripted_agent(name, url)
    )
}

/// Access of those who hold [`MODEL_KEY`], and of nobody else.
const MODEL_KEY_ONLY: &str =
    "{ anonymousScope: none, apiKeys: [{ name: client, scope: all, secretKeyRef: { name: model-key, key: key } }] }";

/// The key in [`MODEL_KEY`].
pub const KEY: &str = "sk-scripted";

/// An Agent on the scripted model at `url` in the image of the example; the holder of [`KEY`] owns it.
pub fn custom_agent(name: &str, url: &str) -> String {
    let access = "{ apiKeys: [{ name: owner, scope: owner, secretKeyRef: { name: model-key, key: key } }] }";
    let agent = agent_on(name, url, "{}");
    format!("{agent}  image: docker.io/rockbot/custom-agent:dev\n  access: {access}\n")
}

/// An Agent on the scripted model at `url` in the image that has an agent for each team; answers the holders of [`KEY`] alone.
pub fn team_agents(name: &str, url: &str) -> String {
    let agent = agent_on(name, url, "{}");
    format!("{agent}  image: docker.io/rockbot/team-agents:dev\n  access: {MODEL_KEY_ONLY}\n")
}

/// An Agent on the scripted model at `url` that has the tools of an McpServer.
pub fn mcp_agent(name: &str, url: &str, server: &str) -> String {
    agent_on(name, url, &format!("{{ mcp: {{ servers: [{{ name: {server} }}] }} }}"))
}

fn agent_on(name: &str, url: &str, tools: &str) -> String {
    format!(
        "
apiVersion: rockbot.dev/v1alpha1
kind: Agent
metadata: {{ name: {name} }}
spec:
  description: Does what its script says.
  instructions: You are under test.
  model:
    provider: OpenAI
    name: scripted
    baseUrl: {url}
    apiKey: {{ secretKeyRef: {{ name: model-key, key: key }} }}
  tools: {tools}
"
    )
}

/// An McpServer on the image of the reference server.
pub fn mcp_server(name: &str) -> String {
    format!(
        "
apiVersion: rockbot.dev/v1alpha1
kind: McpServer
metadata: {{ name: {name} }}
spec:
  http: {{ image: docker.io/rockbot/test-mcp-everything:dev, port: 3001, path: /mcp }}
"
    )
}

/// An Agent on the scripted model at `url` that can hand tasks to the Agent `to`, and tells its model whom it works for.
pub fn handing_agent(name: &str, url: &str, to: &str) -> String {
    let who = "For {{ user_id }}, who pays as {{ payment_user_id }}; began: {{ origin_user_id }}.";
    let key = json!({ "secretKeyRef": { "name": "model-key", "key": "key" } });
    let agent = json!({
        "apiVersion": "rockbot.dev/v1alpha1",
        "kind": "Agent",
        "metadata": { "name": name },
        "spec": {
            "model": { "provider": "OpenAI", "name": "scripted", "baseUrl": url, "apiKey": key },
            "prompts": [{ "name": "who", "template": who }],
            "handoffs": [{ "name": "on", "type": "Agent", "target": to, "description": "Knows more." }],
        },
    });
    agent.to_string()
}

/// Steps of the model of a [`handing_agent`]: it hands a task on, and then says that it is done.
pub fn handing_steps(name: &str) -> Value {
    let call = json!({ "name": "on", "arguments": { "task": format!("from {name}") } });
    json!([{ "calls": [call] }, { "content": format!("{name} is done") }])
}
