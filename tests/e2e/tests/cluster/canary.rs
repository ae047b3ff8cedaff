//! T17: every script pod tries whether the wall around it holds, and the scripts manager's own wall has the doors that it
//! needs and no other.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Service as CoreService, events::v1::Event, networking::v1::NetworkPolicy};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{
    Cluster, Namespace,
    cluster::AGENT,
    eventually,
    fixtures::{NO_ANSWER, demo_agent, knock},
    identity::{pod_of, token},
    in_namespace,
    parts::{MANAGER, Parts, WALL},
    release::{self, SCRIPTS_MANAGER},
    service::{Caller, Service},
    wait::Seen,
};
use serde_json::{Value, json};

#[tokio::test]
async fn t17_as_installed_no_pod_reaches_the_canary() -> Result<()> {
    let cluster = Cluster::connect().await?;
    release::require(&cluster).await?;
    let manager = Service::open(&cluster, release::NAMESPACE, SCRIPTS_MANAGER).await?;
    let canary = canary_once(&manager, "blocked").await?;
    ensure!(
        canary["answers"] == true && canary["reached"] == 0 && canary["unknown"] == 0,
        "{canary}"
    );
    let (_, metrics) = manager.get("/metrics", Caller::default()).await?;
    ensure!(
        count(&metrics, "blocked") > 0 && count(&metrics, "reached") == 0,
        "{metrics}"
    );
    Ok(())
}

#[tokio::test]
async fn t17_without_the_wall_the_canary_tells_and_scripts_are_refused() -> Result<()> {
    in_namespace("canary", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let token = token(ns, "agent-one", Some("rockbot-scripts-manager"), None).await?;
        // Ordinary pods are in this, so the namespace lets them in.
        let values = [
            "scripts.admissionPolicy.enabled=false",
            "scripts.requireNetworkPolicy=false",
        ];
        Parts::with(ns, &MANAGER, &values, async |parts| {
            let manager = parts.open_manager().await?;
            canary_once(&manager, "reached").await?;
            let (_, metrics) = manager.get("/metrics", Caller::default()).await?;
            ensure!(
                count(&metrics, "reached") > 0 && count(&metrics, "blocked") == 0,
                "{metrics}"
            );
            ensure!(run(&manager, &token).await?.0 == StatusCode::OK, "no script runs");
            says_so_beside_the_pod(&parts).await?;

            parts
                .apply(&["scripts-manager/deployment"], &["scripts.requireNetworkPolicy=true"])
                .await?;
            let manager = parts.open_manager().await?;
            let (status, answer) = run(&manager, &token).await?;
            ensure!(
                status == StatusCode::SERVICE_UNAVAILABLE && answer.contains("scripts.requireNetworkPolicy"),
                "{status}: {answer}"
            );

            parts.apply(&[WALL], &[]).await?;
            let (status, answer) = run(&manager, &token).await?;
            ensure!(status == StatusCode::OK, "behind the wall: {status} {answer}");
            canary_once(&manager, "blocked").await.map(drop)
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_each_door_of_the_manager_is_needed_and_there_is_no_other() -> Result<()> {
    in_namespace("doors", async |ns| {
        let values = [
            "scripts.admissionPolicy.enabled=false",
            "scripts.requireNetworkPolicy=false",
        ];
        Parts::with(ns, &MANAGER, &values, async |parts| {
            parts.open_manager().await?;
            let manager = pod_of(ns, &parts.manager()).await?;
            let mut labels = manager.metadata.labels.clone().context("no labels")?;
            // With this one a pod would belong to the Deployment, which does not want another.
            labels.remove("pod-template-hash");
            let ip = manager.status.and_then(|status| status.pod_ip).context("no IP")?;
            let doors = json!({ "http": format!("{ip}:8080"), "canary": format!("{ip}:8081") });
            let agent = BTreeMap::from(
                [
                    ("app.kubernetes.io/component", "agent"),
                    ("app.kubernetes.io/managed-by", "rockbot-operator"),
                ]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
            );
            let nobody = BTreeMap::new();
            let beyond = beyond(ns).await?;
            let knocks = async || -> Result<Value> {
                Ok(json!({
                    "agent": knock(ns, &agent, &doors).await?,
                    "script": knock(&parts.scripts, &nobody, &doors).await?,
                    "nobody": knock(ns, &nobody, &doors).await?,
                    "manager": knock(ns, &labels, &beyond).await?,
                }))
            };
            let open = json!({
                "agent": { "http": "open", "canary": NO_ANSWER },
                "script": { "http": NO_ANSWER, "canary": "open" },
                "nobody": { "http": NO_ANSWER, "canary": NO_ANSWER },
                "manager": { "api": "open", "dns": NO_ANSWER, "agents": NO_ANSWER },
            });
            let seen = knocks().await?;
            ensure!(seen == open, "{seen}");

            for (rule, who, door) in [
                ("/ingress/0", "agent", "http"),
                ("/ingress/1", "script", "canary"),
                ("/egress/0", "manager", "api"),
            ] {
                parts.apply(&["scripts-manager/networkpolicy"], &[]).await?;
                take_rule(&parts, rule).await?;
                let mut closed = open.clone();
                closed[who][door] = json!(NO_ANSWER);
                eventually(
                    &format!("{door} is closed without {rule}"),
                    Duration::from_secs(60),
                    async || {
                        let seen = knocks().await?;
                        Ok(Seen::when(seen == closed, || seen.to_string()))
                    },
                )
                .await?;
            }
            Ok(())
        })
        .await
    })
    .await
}

/// The state of the canary once a pod has said `verdict`.
async fn canary_once(manager: &Service, verdict: &str) -> Result<Value> {
    eventually(
        &format!("a pod's canary is {verdict}"),
        Duration::from_secs(60),
        async || {
            let (_, status) = manager.get("/v1/status", Caller::default()).await?;
            let canary = serde_json::from_str::<Value>(&status)?["canary"].clone();
            let seen = canary[verdict].as_u64().is_some_and(|count| count > 0);
            Ok(if seen { Seen::Done(canary) } else { Seen::NotYet(status) })
        },
    )
    .await
}

/// Value of `rockbot_scripts_canaries_total` with this result.
fn count(metrics: &str, result: &str) -> u64 {
    let series = format!("rockbot_scripts_canaries_total{{result=\"{result}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

async fn run(manager: &Service, token: &str) -> Result<(StatusCode, String)> {
    let body = json!({ "script": "print(6 * 7)" });
    manager.post("/v1/scripts", &body, Caller::with(token)).await
}

async fn says_so_beside_the_pod(parts: &Parts) -> Result<()> {
    eventually("an Event tells of it", Duration::from_secs(20), async || {
        let events = parts.scripts.api::<Event>().list(&ListParams::default()).await?.items;
        let ours = events
            .iter()
            .find(|event| event.reason.as_deref() == Some("NetworkReached"));
        let about = ours.and_then(|event| event.regarding.as_ref()?.name.clone());
        let is_a_script = about.is_some_and(|name| name.starts_with("script-"));
        Ok(Seen::when(is_a_script, || format!("{events:?}")))
    })
    .await
}

/// What lies beyond the manager: the API server, which is its business, and the cluster's DNS and another service, which are not.
async fn beyond(ns: &Namespace) -> Result<Value> {
    let address = async |namespace: &str, name: &str| {
        let services: Api<CoreService> = Api::namespaced(ns.cluster.client.clone(), namespace);
        let spec = services.get(name).await?.spec.context("a Service without a spec")?;
        spec.cluster_ip.with_context(|| format!("{name} has no address"))
    };
    Ok(json!({
        "api": format!("{}:443", address("default", "kubernetes").await?),
        "dns": format!("{}:53", address("kube-system", "kube-dns").await?),
        "agents": format!("{}:8080", address(release::NAMESPACE, release::OPERATOR).await?),
    }))
}

/// Takes a rule out of the manager's NetworkPolicy.
async fn take_rule(parts: &Parts, rule: &str) -> Result<()> {
    let policies = parts.ns.api::<NetworkPolicy>();
    let mut policy = serde_json::to_value(policies.get(&parts.manager()).await?)?;
    let (rules, index) = rule.rsplit_once('/').context("no rule")?;
    let rules = policy["spec"]
        .pointer_mut(rules)
        .and_then(Value::as_array_mut)
        .context("no rules")?;
    let index: usize = index.parse()?;
    ensure!(index < rules.len(), "there is no {rule}");
    rules.remove(index);
    let policy = serde_json::from_value(policy)?;
    policies
        .replace(&parts.manager(), &PostParams::default(), &policy)
        .await?;
    Ok(())
}
