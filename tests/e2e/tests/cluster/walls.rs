//! T17: a script reaches nothing, by TCP, UDP or DNS: with the seccomp wall alone, with the NetworkPolicy alone, with both.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Pod, Service as CoreService},
    networking::v1::NetworkPolicy,
};
use kube::{Api, api::ListParams};
use rockbot_e2e::{
    Namespace,
    cluster::AGENT,
    eventually,
    fixtures::{demo_agent, python_pod, run_pod, start_pod},
    identity::token,
    in_namespace,
    parts::{ADMISSION, MANAGER, Parts, WALL},
    release::{self, SCRIPTS_MANAGER, SCRIPTS_NAMESPACE},
    service::Service,
    wait::Seen,
};
use serde_json::{Value, json};

const PROBE: &str = include_str!("../../python/probe.py");
const CANARY: &str = include_str!("../../python/canary.py");

#[tokio::test]
async fn t17_seccomp_alone_stops_a_script() -> Result<()> {
    in_namespace("seccomp", async |ns| {
        let targets = start_canary(ns).await?;
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        Parts::with(ns, &MANAGER, &["scripts.requireNetworkPolicy=false"], async |parts| {
            let policies = parts
                .scripts
                .api::<NetworkPolicy>()
                .list(&ListParams::default())
                .await?;
            ensure!(policies.items.is_empty(), "there is a NetworkPolicy, too");
            // The control, as an ordinary process: only script pods are let in later.
            reaches_everything(&parts.scripts, &targets).await?;
            parts.apply(&[ADMISSION], &[]).await?;
            is_refused_sockets(&run_probe(ns, &parts.open_manager().await?, &targets).await?)
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_the_network_policy_alone_stops_a_script() -> Result<()> {
    in_namespace("policy", async |ns| {
        let targets = start_canary(ns).await?;
        reaches_everything(ns, &targets).await?;
        Parts::with(ns, &["scripts/namespace", WALL], &[], async |parts| {
            let scripts = parts.scripts;
            ensure!(
                walls_of(&scripts).await? == walls_of(&installed(ns)).await?,
                "the installed wall is another one"
            );
            // The probe as an ordinary process: nothing but the policy is in its way. Its labels are a script's.
            let pod = python_pod("script", &labels_of_a_script(ns).await?, PROBE, &probe_input(&targets))?;
            let seen: Value = serde_json::from_str(&run_pod(&scripts, &pod).await?)?;
            for way in ["tcp", "udp", "dns"] {
                ensure!(
                    seen[way].as_str().is_some_and(|text| text.starts_with("TimeoutError")),
                    "{way}: {seen}"
                );
            }
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_a_script_as_installed_reaches_nothing() -> Result<()> {
    in_namespace("walls", async |ns| {
        let targets = start_canary(ns).await?;
        reaches_everything(ns, &targets).await?;
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        ensure!(!walls_of(&installed(ns)).await?.is_empty(), "there is no wall");
        let manager = Service::open(&ns.cluster, release::NAMESPACE, SCRIPTS_MANAGER).await?;
        is_refused_sockets(&run_probe(ns, &manager, &targets).await?)
    })
    .await
}

/// Starts the canary and says where everything is that a script must not reach.
async fn start_canary(ns: &Namespace) -> Result<Value> {
    let pod = python_pod("canary", &BTreeMap::new(), CANARY, &[])?;
    let canary = start_pod(ns, &pod, "canary is up").await?;
    let services: Api<CoreService> = Api::namespaced(ns.cluster.client.clone(), "kube-system");
    let dns = services
        .get("kube-dns")
        .await?
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("no cluster DNS")?;
    Ok(json!({ "canary": canary, "dns": dns, "name": "kubernetes.default.svc.cluster.local" }))
}

/// The control: an ordinary pod of `ns` reaches all of it.
async fn reaches_everything(ns: &Namespace, targets: &Value) -> Result<()> {
    let pod = python_pod("control", &BTreeMap::new(), PROBE, &probe_input(targets))?;
    let seen: Value = serde_json::from_str(&run_pod(ns, &pod).await?)?;
    ensure!(
        seen == json!({ "tcp": "open", "udp": "open", "dns": "open" }),
        "an ordinary pod is stopped: {seen}"
    );
    Ok(())
}

async fn run_probe(ns: &Namespace, manager: &Service, targets: &Value) -> Result<Value> {
    let token = token(ns, "agent-one", Some("rockbot-scripts-manager"), None).await?;
    let result = manager.run_script(&token, PROBE, targets).await?;
    let output = result["stdout"].as_str().unwrap_or_default();
    serde_json::from_str(output).with_context(|| format!("the probe did not run: {result}"))
}

/// The kernel refuses the very socket: no packet was ever made.
fn is_refused_sockets(seen: &Value) -> Result<()> {
    for way in ["tcp", "udp", "dns"] {
        ensure!(
            seen[way]
                .as_str()
                .is_some_and(|text| text.starts_with("PermissionError")),
            "{way}: {seen}"
        );
    }
    Ok(())
}

fn installed(ns: &Namespace) -> Namespace {
    Namespace {
        cluster: ns.cluster.clone(),
        name: SCRIPTS_NAMESPACE.into(),
    }
}

async fn walls_of(ns: &Namespace) -> Result<Vec<Value>> {
    let policies = ns.api::<NetworkPolicy>().list(&ListParams::default()).await?;
    Ok(policies
        .items
        .iter()
        .map(|policy| serde_json::to_value(&policy.spec))
        .collect::<Result<_, _>>()?)
}

async fn labels_of_a_script(ns: &Namespace) -> Result<BTreeMap<String, String>> {
    let pods = installed(ns).api::<Pod>();
    eventually("a script pod is parked", Duration::from_secs(30), async || {
        let first = pods.list(&ListParams::default()).await?.items.into_iter().next();
        Ok(first.map_or_else(
            || Seen::NotYet("none".to_owned()),
            |pod| Seen::Done(pod.metadata.labels.unwrap_or_default()),
        ))
    })
    .await
}

fn probe_input(targets: &Value) -> Vec<(&'static str, String)> {
    vec![("ROCKBOT_INPUT", targets.to_string())]
}
