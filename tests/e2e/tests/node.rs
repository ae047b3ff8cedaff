//! T16: parts of the node go away and come back while scripts are parked and running; and the definition of Agents is for a
//! moment another one. A target of its own, in which one test runs after the other: everybody on the node notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{
    Namespace,
    cluster::AGENT,
    eventually,
    fixtures::demo_agent,
    in_namespace,
    manager::{Manager, answer, on_stage},
    namespace::find_condition,
    process, release,
    wait::Seen,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn t16_the_api_server_restarts() -> Result<()> {
    a_restart_of("kube-apiserver").await
}

#[tokio::test]
async fn t16_the_kubelet_restarts() -> Result<()> {
    a_restart_of("kubelet").await
}

#[tokio::test]
async fn t16_containerd_restarts() -> Result<()> {
    a_restart_of("containerd").await
}

/// A script that runs meanwhile is lost and not run again, one that comes after it sees nothing, and nothing is left over.
async fn a_restart_of(component: &str) -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    on_stage("node", async |stage| {
        let manager = stage.manager(&["--pool-min=2"]).await?;
        let before = manager.parked(stage, 2).await?;
        let running = tokio::spawn(answer(manager.request("import time; time.sleep(60)", 90)));
        let runs = |status: &Value| status["running"] == 1;
        manager.until("the script runs", Duration::from_secs(10), runs).await?;

        let mut restart = process::command(&stage.ns.cluster.settings.repository().join("tests/cluster/restart"));
        restart.arg(component);
        process::check(restart, "", Duration::from_secs(90)).await?;

        let (status, body) = running.await??;
        ensure!(
            status == StatusCode::BAD_GATEWAY && body["error"]["code"] == "sandbox_lost",
            "{status}: {body}"
        );
        let pod = manager.prints("print(1)", "1\n").await?;
        ensure!(!before.contains(&pod), "{pod} was parked before the restart");
        stage.only(&manager.parked(stage, 2).await?).await?;
        ran_once(&manager).await
    })
    .await
}

async fn ran_once(manager: &Manager) -> Result<()> {
    for outcome in ["lost", "succeeded"] {
        let runs = format!(r#"rockbot_scripts_runs_total{{outcome="{outcome}"}}"#);
        manager.counts(&runs, 1.0).await?;
    }
    Ok(())
}

/// A newer version's definition admits what this operator does not know. It must go back to what it was, whatever happens.
#[tokio::test]
async fn k1_an_agent_that_cannot_be_read_hinders_no_other() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    in_namespace("unreadable", async |ns| {
        let definitions: Api<CustomResourceDefinition> = Api::all(ns.cluster.client.clone());
        let definition = definitions.get("agents.rockbot.dev").await?;
        let outcome = beside_an_unreadable_agent(ns, &definitions, &definition).await;
        let as_it_was = json!({ "spec": { "versions": definition.spec.versions } });
        definitions
            .patch("agents.rockbot.dev", &PatchParams::default(), &Patch::Merge(as_it_was))
            .await?;
        outcome
    })
    .await
}

async fn beside_an_unreadable_agent(
    ns: &Namespace,
    definitions: &Api<CustomResourceDefinition>,
    definition: &CustomResourceDefinition,
) -> Result<()> {
    ns.apply(&demo_agent("newer")).await?;
    ns.ready(AGENT, "newer").await?;
    let before = ns.api::<Deployment>().get("agent-newer").await?;

    let mut versions = json!(definition.spec.versions);
    let providers = "/0/schema/openAPIV3Schema/properties/spec/properties/model/properties/provider/enum";
    let providers = versions.pointer_mut(providers).and_then(Value::as_array_mut);
    providers
        .context("the definition lists no providers")?
        .push(json!("Abacus"));
    let loosened = Patch::Merge(json!({ "spec": { "versions": versions } }));
    definitions
        .patch("agents.rockbot.dev", &PatchParams::default(), &loosened)
        .await?;
    let newer = demo_agent("newer").replace("provider: Demo", "provider: Abacus, name: beads");
    eventually("the API server knows an abacus", Duration::from_secs(20), async || {
        let applied = ns.try_apply(&newer).await?;
        Ok(Seen::when(applied.success(), || applied.stderr))
    })
    .await?;
    is_invalid(ns).await?;

    let system = ["--namespace", release::NAMESPACE];
    let pods = ["delete", "pods", "--selector=app.kubernetes.io/component=operator"];
    ns.cluster.run_kubectl(&[&system[..], &pods].concat()).await?;
    let operator = format!("deployment/{}", release::OPERATOR);
    let up = ["rollout", "status", &operator, "--timeout=60s"];
    ns.cluster.run_kubectl(&[&system[..], &up].concat()).await?;
    ns.apply(&demo_agent("other")).await?;
    ns.ready(AGENT, "other").await?;
    is_invalid(ns).await?;
    let after = ns.api::<Deployment>().get("agent-newer").await?;
    ensure!(
        after.uid() == before.uid() && after.spec == before.spec,
        "what was made for it is another one: {after:?}"
    );
    ns.apply(&demo_agent("newer")).await?;
    ns.ready(AGENT, "newer").await.map(drop)
}

async fn is_invalid(ns: &Namespace) -> Result<()> {
    eventually("the Agent is reported", Duration::from_secs(20), async || {
        let object = ns.rockbot(AGENT).get("newer").await?;
        let status = &object.data["status"];
        let ready = find_condition(&status["conditions"], "Ready")
            .cloned()
            .unwrap_or_default();
        let told = ready["reason"] == "InvalidSpec"
            && ready["message"]
                .as_str()
                .is_some_and(|message| message.starts_with("spec.model.provider: "))
            && status["url"].is_string();
        Ok(Seen::when(told, || status.to_string()))
    })
    .await
}
