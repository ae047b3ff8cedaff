//! K3: an upgrade keeps agents answering and scripts running, and an uninstall leaves nothing but what the README says.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use rockbot_e2e::{
    Cluster, Namespace, chat,
    cluster::AGENT,
    eventually,
    fixtures::{demo_agent, python_pod, start_pod},
    in_namespace,
    release::{self, NAMESPACE, SCRIPTS_NAMESPACE},
    wait::Seen,
};

/// What stays after `helm uninstall` of both charts, as the docs say: the definitions, and with them people's objects.
const KEPT: [&str; 3] = [
    "apiservice.apiregistration.k8s.io/v1alpha1.rockbot.dev",
    "customresourcedefinition.apiextensions.k8s.io/agents.rockbot.dev",
    "customresourcedefinition.apiextensions.k8s.io/mcpservers.rockbot.dev",
];

#[tokio::test]
async fn k3_an_upgrade_keeps_agents_answering_and_an_uninstall_leaves_nothing() -> Result<()> {
    in_namespace("upgrade", async |ns| {
        ns.apply(&demo_agent("steady")).await?;
        ns.ready(AGENT, "steady").await?;
        start_client(ns, &CHATS).await?;
        start_client(ns, &SCRIPTS).await?;
        let before = pods_of(ns, "agent-steady").await?;
        // A changed annotation rolls both services; a changed image rolls every agent. Other limits are another pod for
        // the admission policy: between its change and the new manager the old one can make none.
        let tag = second_tag(&ns.cluster).await?;
        let values = [
            "--set",
            "operator.podAnnotations.upgraded=yes",
            "--set",
            "scriptsManager.podAnnotations.upgraded=yes",
            "--set",
            "scripts.resources.limits.memory=320Mi",
        ];
        let agent_image = format!("agent.image.tag={tag}");
        release::deploy(
            &ns.cluster,
            "upgrade",
            &[&values[..], &["--set", &agent_image]].concat(),
        )
        .await?;
        eventually(
            "every pod of the agent is a new one",
            Duration::from_secs(60),
            async || {
                let now = pods_of(ns, "agent-steady").await?;
                Ok(Seen::when(
                    !now.is_empty() && now.iter().all(|pod| !before.contains(pod)),
                    || format!("{now:?}"),
                ))
            },
        )
        .await?;
        ns.ready(AGENT, "steady").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        answered_always(ns, &CHATS).await?;
        answered_always(ns, &SCRIPTS).await?;
        ns.kubectl(&["delete", "pod", SCRIPTS.name]).await?;
        uninstall_leaves_nothing(ns).await?;
        agents_outlive_it(ns).await
    })
    .await
}

/// A pod that asks the agent over and over, through its Service.
struct Client {
    name: &'static str,
    prompt: &'static str,
    /// What every answer has in it.
    expect: &'static str,
    /// Seconds between an answer and the next request.
    pause: &'static str,
    /// Fewer answers tell nothing.
    enough: usize,
}

const CHATS: Client = Client {
    name: "chats",
    prompt: "hello",
    expect: "chat.completion",
    pause: "0.05",
    enough: 50,
};
const SCRIPTS: Client = Client {
    name: "scripts",
    prompt: "run this:\n```python\nprint(6*7)\n```",
    expect: "42",
    pause: "1",
    enough: 5,
};

async fn start_client(ns: &Namespace, client: &Client) -> Result<()> {
    let url = format!("http://agent-steady.{}.svc:8080/steady/chat/completions", ns.name);
    let env = [
        ("URL", url),
        ("BODY", chat::user(client.prompt).to_string()),
        ("EXPECT", client.expect.to_owned()),
        ("PAUSE", client.pause.to_owned()),
    ];
    let source = include_str!("../python/steady_client.py");
    let pod = python_pod(client.name, &std::collections::BTreeMap::new(), source, &env)?;
    start_pod(ns, &pod, "ok").await.map(drop)
}

async fn answered_always(ns: &Namespace, client: &Client) -> Result<()> {
    let log = ns.api::<Pod>().logs(client.name, &LogParams::default()).await?;
    let failures: Vec<_> = log.lines().filter(|line| *line != "ok").collect();
    let all = log.lines().count();
    let name = client.name;
    ensure!(
        failures.is_empty(),
        "{name}: {} of {all} requests failed: {failures:#?}",
        failures.len()
    );
    ensure!(all > client.enough, "{name}: too few requests to tell: {all}");
    println!("{name}: {all} requests so far, none failed");
    Ok(())
}

async fn uninstall_leaves_nothing(ns: &Namespace) -> Result<()> {
    let cluster = &ns.cluster;
    for (release, namespace) in [("rockbot", NAMESPACE), ("rockbot-crds", "default")] {
        cluster
            .run_helm(&["uninstall", release, "--namespace", namespace, "--wait"])
            .await?;
    }
    let release = Namespace {
        cluster: cluster.clone(),
        name: NAMESPACE.into(),
    };
    eventually(
        "only the Lease is left of the release",
        Duration::from_secs(40),
        async || {
            let mut left = release.everything().await?;
            left.retain(|name| !name.ends_with("/kube-root-ca.crt") && name != "serviceaccount/default");
            let lease = format!("lease.coordination.k8s.io/{}", release::OPERATOR);
            Ok(Seen::when(left == [lease], || format!("{left:?}")))
        },
    )
    .await?;
    cluster
        .run_kubectl(&["delete", "namespace", NAMESPACE, "--wait"])
        .await?;
    eventually("the scripts namespace is gone", Duration::from_secs(60), async || {
        let left = cluster.run_kubectl(&[
            "get",
            "namespace",
            SCRIPTS_NAMESPACE,
            "--ignore-not-found",
            "--output=name",
        ]);
        let left = left.await?;
        Ok(Seen::when(left.is_empty(), || left))
    })
    .await?;
    let left = named_after_rockbot(cluster).await?;
    ensure!(left == KEPT, "left behind: {left:?}");
    Ok(())
}

/// People's agents stay and go on answering, until they are deleted.
async fn agents_outlive_it(ns: &Namespace) -> Result<()> {
    answered_always(ns, &CHATS).await?;
    ns.kubectl(&["delete", "agent", "steady"]).await?;
    ns.gone::<Pod>("pod", "app.kubernetes.io/component=agent").await?;
    ns.cluster
        .run_kubectl(&["delete", "crds", "agents.rockbot.dev", "mcpservers.rockbot.dev"])
        .await
        .map(drop)
}

/// Objects of the whole cluster, of every kind, with RockBot in their names; those of its nodes aside.
async fn named_after_rockbot(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = ["api-resources", "--namespaced=false", "--verbs=list", "--output=name"];
    let kinds = cluster.run_kubectl(&kinds).await?.lines().collect::<Vec<_>>().join(",");
    let all = cluster
        .run_kubectl(&["get", &kinds, "--output=name", "--ignore-not-found"])
        .await?;
    let nodes: Vec<_> = all.lines().filter_map(|name| name.strip_prefix("node/")).collect();
    let of_a_node = |name: &str| name.split('/').next_back().is_some_and(|name| nodes.contains(&name));
    let mut names: Vec<_> = all
        .lines()
        .filter(|name| name.contains("rockbot") && !of_a_node(name))
        .collect();
    names.sort_unstable();
    Ok(names.into_iter().map(str::to_owned).collect())
}

async fn pods_of(ns: &Namespace, prefix: &str) -> Result<Vec<String>> {
    let names = ns.kubectl(&["get", "pods", "--output=name"]).await?;
    Ok(names
        .lines()
        .filter(|name| name.contains(prefix))
        .map(str::to_owned)
        .collect())
}

/// The agent's image under a second tag, so that an upgrade has something to roll to.
async fn second_tag(cluster: &Cluster) -> Result<String> {
    let image = cluster.run_kubectl(&[
        "--namespace",
        NAMESPACE,
        "get",
        "deployment",
        release::OPERATOR,
        "--output=jsonpath={.spec.template.spec.containers[0].args}",
    ]);
    let args: Vec<String> = serde_json::from_str(&image.await?)?;
    let image = args
        .iter()
        .find_map(|arg| arg.strip_prefix("--agent-image="))
        .context("no agent image")?;
    let (name, tag) = image.rsplit_once(':').context("the agent's image has no tag")?;
    let next = format!("{tag}-next");
    let copy = format!("{name}:{next}");
    rockbot_e2e::node::run_on_node(&cluster.settings, &["ctr", "images", "tag", "--force", image, &copy]).await?;
    Ok(next)
}
