//! K1: what happens to an Agent's children when it is edited, scaled, tampered with and deleted.

use std::{fmt::Debug, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rockbot_e2e::{Namespace, cluster::AGENT, eventually, fixtures::demo_agent, in_namespace, wait::Seen};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

#[tokio::test]
async fn k1_an_edit_rolls_once_and_scaling_rolls_nothing() -> Result<()> {
    in_namespace("edit", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        ensure!(
            rollouts(ns).await? == (1, 1),
            "a new agent was rolled: {:?}",
            rollouts(ns).await?
        );

        patch_agent(ns, &json!({ "spec": { "instructions": "You are terse." } })).await?;
        ns.ready(AGENT, "one").await?;
        rolled_out(ns, 1).await?;
        ensure!(
            rollouts(ns).await? == (2, 2),
            "an edit rolled: {:?}",
            rollouts(ns).await?
        );

        ns.kubectl(&["scale", "agents/one", "--replicas=2"]).await?;
        rolled_out(ns, 2).await?;
        ns.ready(AGENT, "one").await?;
        ensure!(
            rollouts(ns).await? == (3, 2),
            "scaling rolled: {:?}",
            rollouts(ns).await?
        );

        ns.kubectl(&["scale", "agents/one", "--replicas=0"]).await?;
        ns.gone::<k8s_openapi::api::core::v1::Pod>("pod", "").await
    })
    .await
}

#[tokio::test]
async fn k1_deleting_an_agent_leaves_nothing() -> Result<()> {
    in_namespace("delete", async |ns| {
        let before = ns.everything().await?;
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let during = ns.everything().await?;
        for kind in [
            "deployment.apps",
            "service",
            "serviceaccount",
            "configmap",
            "networkpolicy.networking.k8s.io",
        ] {
            let child = format!("{kind}/agent-one");
            ensure!(during.contains(&child), "{child} does not exist: {during:?}");
        }
        ns.kubectl(&["delete", "agent", "one"]).await?;
        eventually("everything of the agent is gone", Duration::from_secs(30), async || {
            let left: Vec<_> = ns
                .everything()
                .await?
                .into_iter()
                .filter(|name| !before.contains(name))
                .collect();
            Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn k1_a_child_changed_by_hand_is_repaired() -> Result<()> {
    in_namespace("repair", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let image =
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "agent", "image": "evil" }] } } } });
        repairs::<Deployment>(ns, &image).await?;
        repairs::<Deployment>(
            ns,
            &json!({ "spec": { "template": { "spec": { "serviceAccountName": "default" } } } }),
        )
        .await?;
        repairs::<Service>(
            ns,
            &json!({ "spec": { "selector": { "app.kubernetes.io/name": "other" } } }),
        )
        .await?;
        repairs::<ConfigMap>(ns, &json!({ "data": { "agent.json": "{}" } })).await?;
        repairs::<ServiceAccount>(ns, &json!({ "automountServiceAccountToken": true })).await?;
        repairs::<NetworkPolicy>(
            ns,
            &json!({ "spec": { "podSelector": { "matchLabels": { "a": "b" } } } }),
        )
        .await?;
        repairs::<NetworkPolicy>(ns, &json!({ "spec": { "ingress": [{}] } })).await?;
        recreates::<Deployment>(ns).await?;
        recreates::<Service>(ns).await?;
        recreates::<ConfigMap>(ns).await?;
        recreates::<ServiceAccount>(ns).await?;
        recreates::<NetworkPolicy>(ns).await?;
        ns.ready(AGENT, "one").await.map(drop)
    })
    .await
}

#[tokio::test]
async fn k1_an_invalid_spec_is_rejected_with_the_name_of_its_field() -> Result<()> {
    in_namespace("invalid", async |ns| {
        for (spec, field) in [
            ("{ model: { provider: Demo }, replicas: -1 }", "spec.replicas"),
            ("{ model: { provider: Abacus } }", "spec.model.provider"),
            ("{ model: { provider: OpenAI } }", "spec.model"),
            (
                "{ model: { provider: Demo, temperature: 9 } }",
                "spec.model.temperature",
            ),
            ("{ modle: { provider: Demo }, model: { provider: Demo } }", "spec.modle"),
            (
                "{ model: { provider: Demo }, tools: { scripts: { timeoutSeconds: 301 } } }",
                "spec.tools.scripts.timeoutSeconds",
            ),
            ("{ description: no model }", "spec.model"),
        ] {
            rejects(ns, "Agent", spec, field).await?;
        }
        for (spec, field) in [
            ("{}", "spec"),
            ("{ http: { image: a, port: 0 } }", "spec.http.port"),
            ("{ http: { image: a, port: 80 }, remote: { url: 'http://x/' } }", "spec"),
            ("{ remote: { url: 'ftp://x/' } }", "spec.remote.url"),
        ] {
            rejects(ns, "McpServer", spec, field).await?;
        }
        // Reserved: a fixed route of every server.
        let output = ns.try_apply(&demo_agent("health")).await?;
        ensure!(!output.success(), "an Agent may take the name of a route");
        ensure!(
            output.stderr.contains("name"),
            "the message does not say what is wrong: {}",
            output.stderr
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn k1_kubectl_tells_the_story() -> Result<()> {
    in_namespace("story", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let table = ns.kubectl(&["get", "agents"]).await?;
        let mut lines = table.lines();
        let columns: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
        ensure!(
            columns == ["NAME", "READY", "REASON", "MODEL", "TOOLS", "URL", "AGE"],
            "columns: {columns:?}"
        );
        let row: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
        ensure!(
            row.len() == 7 && row[0] == "one" && row[1] == "True" && row[5].starts_with("http://"),
            "row: {row:?}"
        );
        let described = ns.kubectl(&["describe", "agent", "one"]).await?;
        let events = described.split("Events:").nth(1).unwrap_or_default();
        ensure!(events.contains("Normal"), "describe shows no events:\n{described}");
        let explained = ns.kubectl(&["explain", "agent.spec.model.provider"]).await?;
        ensure!(
            explained.contains("OpenAI") && explained.contains("DESCRIPTION"),
            "explain: {explained}"
        );
        Ok(())
    })
    .await
}

/// The Deployment's generation (how often its spec was written) and how many ReplicaSets it has had.
async fn rollouts(ns: &Namespace) -> Result<(i64, usize)> {
    let deployment = ns.api::<Deployment>().get("agent-one").await?;
    let sets = ns.api::<ReplicaSet>().list(&ListParams::default()).await?;
    Ok((deployment.metadata.generation.unwrap_or_default(), sets.items.len()))
}

async fn rolled_out(ns: &Namespace, replicas: u8) -> Result<()> {
    ns.kubectl(&[
        "wait",
        "deployment/agent-one",
        &format!("--for=jsonpath=.status.readyReplicas={replicas}"),
    ])
    .await?;
    ns.kubectl(&["rollout", "status", "deployment/agent-one", "--timeout=60s"])
        .await
        .map(drop)
}

async fn patch_agent(ns: &Namespace, patch: &Value) -> Result<()> {
    ns.rockbot(AGENT)
        .patch("one", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// A child that a person patches goes back to what it was.
async fn repairs<K>(ns: &Namespace, patch: &Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let api = ns.api::<K>();
    let before = essence(&api.get("agent-one").await?)?;
    let changed = essence(
        &api.patch("agent-one", &PatchParams::default(), &Patch::Strategic(patch))
            .await?,
    )?;
    ensure!(
        changed != before,
        "the patch changed nothing in the {}: {patch}",
        K::kind(&())
    );
    eventually(
        &format!("the {} is repaired", K::kind(&())),
        Duration::from_secs(20),
        async || {
            let now = essence(&api.get("agent-one").await?)?;
            Ok(Seen::when(now == before, || format!("{now}\ninstead of {before}")))
        },
    )
    .await
}

/// A child that a person deletes comes back.
async fn recreates<K>(ns: &Namespace) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api = ns.api::<K>();
    let old = api.get("agent-one").await?.uid();
    api.delete("agent-one", &DeleteParams::default()).await?;
    eventually(
        &format!("the {} comes back", K::kind(&())),
        Duration::from_secs(20),
        async || {
            let new = api.get_opt("agent-one").await?.and_then(|object| object.uid());
            Ok(Seen::when(new.is_some() && new != old, || format!("{new:?}")))
        },
    )
    .await
}

/// What an object says, without what the API server notes about it.
fn essence(object: &impl Serialize) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
        fields.remove("metadata");
    }
    Ok(value)
}

async fn rejects(ns: &Namespace, kind: &str, spec: &str, field: &str) -> Result<()> {
    let yaml =
        format!("{{ apiVersion: rockbot.dev/v1alpha1, kind: {kind}, metadata: {{ name: wrong }}, spec: {spec} }}");
    let output = ns.try_apply(&yaml).await?;
    ensure!(!output.success(), "{kind} {spec} was accepted");
    ensure!(
        output.stderr.contains(field),
        "{kind} {spec}: the message does not name {field}: {}",
        output.stderr
    );
    Ok(())
}
