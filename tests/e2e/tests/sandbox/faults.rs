//! T16: faults between a caller and its script. When a byte was sent, the caller gets one honest error and the script is not
//! run again; when none was, another pod takes it and the caller sees nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::{
    Api,
    api::{DeleteParams, EvictParams, PostParams},
};
use reqwest::StatusCode;
use rockbot_e2e::manager::{Manager, Stage, answer, on_stage};
use serde_json::{Value, json};
use tokio::time::sleep;

const SLEEP: &str = "import time; time.sleep(30)";

#[tokio::test]
async fn t16_a_dropped_connection() -> Result<()> {
    on_stage("dropped", async |stage| {
        // More than the attempts that are made with packages: those that ended while they were parked are none.
        let manager = stage.manager(&["--pool-min=6"]).await?;
        let before = manager.parked(stage, 6).await?;
        // Parked: the caller sees nothing, whether the manager has noticed or not.
        manager.link.cut();
        let pod = manager.prints("print(1)", "1\n").await?;
        ensure!(!before.contains(&pod), "a pod without a connection took a script");
        let parked = manager.parked(stage, 6).await?;
        stage.only(&parked).await?;

        let lost = during(&manager, async || manager.link.cut()).await?;
        is_lost_once(&manager, &lost, 1.0).await?;
        stage.only(&manager.parked(stage, 6).await?).await
    })
    .await
}

#[tokio::test]
async fn t16_an_api_server_that_cannot_be_reached() -> Result<()> {
    on_stage("blocked", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        manager.prints("print(1)", "1\n").await?;
        manager.parked(stage, 1).await?;
        manager.link.block();
        let empty = |status: &Value| status["parked"] == 0;
        let status = manager.until("it notices", Duration::from_secs(10), empty).await?;
        ensure!(status["last_problem"].is_string(), "{status}");
        let waiting = tokio::spawn(answer(manager.request("print(2)", 20)));
        sleep(Duration::from_secs(3)).await;
        manager.link.cut();
        let (status, result) = waiting.await??;
        ensure!(
            status == StatusCode::OK && result["stdout"] == "2\n",
            "{status}: {result}"
        );
        stage.only(&manager.parked(stage, 1).await?).await?;
        let status = manager.status().await?;
        ensure!(status["last_problem"].is_null(), "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t16_a_connection_that_nothing_comes_through_any_more() -> Result<()> {
    on_stage("frozen", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        manager.prints("print(1)", "1\n").await?;
        manager.parked(stage, 1).await?;
        manager.link.freeze();
        let lost = manager.run("print(2)", 1).await?;
        manager.link.cut();
        is_lost_once(&manager, &lost, 1.0).await?;
        manager.prints("print(3)", "3\n").await?;
        stage.only(&manager.parked(stage, 1).await?).await
    })
    .await
}

#[tokio::test]
async fn t16_an_evicted_pod() -> Result<()> {
    on_stage("evicted", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        let before = manager.parked(stage, 1).await?;
        evict(stage, &before[0]).await?;
        manager.prints("print(1)", "1\n").await?;

        let parked = manager.parked(stage, 1).await?;
        let lost = during(&manager, async || {
            let evicted = evict(stage, &parked[0]).await;
            assert!(evicted.is_ok(), "{evicted:?}");
        })
        .await?;
        is_lost_once(&manager, &lost, 1.0).await?;
        let message = lost.1["error"]["message"].as_str().unwrap_or_default();
        ensure!(message.contains("EvictionByEvictionAPI"), "{message}");
        stage.only(&manager.parked(stage, 1).await?).await
    })
    .await
}

#[tokio::test]
async fn t16_a_script_that_uses_up_the_memory_of_its_pod() -> Result<()> {
    on_stage("memory", async |stage| {
        let limits = "--limits=cpu=500m,memory=96Mi,ephemeral-storage=256Mi";
        let manager = stage.manager(&["--pool-min=1", limits]).await?;
        let parked = manager.parked(stage, 1).await?;
        // Files take it all, and a small program makes them: the largest process that the kernel finds is the supervisor.
        let fill = "for place in . /dev/shm; do dd if=/dev/zero of=$place/full bs=64k count=1000; done";
        let script = format!("import os\nprint('begun', flush=True)\nos.execlp('sh', 'sh', '-c', '{fill}')");
        let (status, result) = manager.run(&script, 30).await?;
        ensure!(
            status == StatusCode::OK && result["oom_killed"] == true && result["exit_code"] == 137,
            "{status}: {result}"
        );
        ensure!(
            result["stdout"] == "begun\n" && result["script_id"] == parked[0].as_str(),
            "{result}"
        );
        manager
            .counts(r#"rockbot_scripts_runs_total{outcome="failed"}"#, 1.0)
            .await?;
        stage.only(&manager.parked(stage, 1).await?).await
    })
    .await
}

#[tokio::test]
async fn t16_an_image_that_is_not_there() -> Result<()> {
    on_stage("image", async |stage| {
        let manager = stage
            .manager(&["--pool-min=0", "--pool-max=0", "--image=registry.invalid/no/python:1"])
            .await?;
        is_unavailable(stage, &manager, "ImagePull").await
    })
    .await
}

#[tokio::test]
async fn t16_a_node_that_is_full() -> Result<()> {
    on_stage("full", async |stage| {
        let amounts = "cpu=1000,memory=48Mi,ephemeral-storage=16Mi";
        let (requests, limits) = (format!("--requests={amounts}"), format!("--limits={amounts}"));
        let manager = stage
            .manager(&["--pool-min=0", "--pool-max=0", &requests, &limits])
            .await?;
        is_unavailable(stage, &manager, "Insufficient cpu").await
    })
    .await
}

#[tokio::test]
async fn t16_a_quota_that_is_exhausted() -> Result<()> {
    on_stage("quota", async |stage| {
        let quota: ResourceQuota = serde_json::from_value(json!({
            "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } },
        }))?;
        let quotas: Api<ResourceQuota> = stage.ns.api();
        quotas.create(&PostParams::default(), &quota).await?;
        let manager = stage.manager(&["--pool-min=1"]).await?;
        let waiting = tokio::spawn(answer(manager.request("print(1)", 20)));
        let told = |status: &Value| problem(status).contains("exceeded quota");
        manager.until("it says so", Duration::from_secs(20), told).await?;
        quotas.delete("none", &DeleteParams::default()).await?;
        let (status, result) = waiting.await??;
        ensure!(
            status == StatusCode::OK && result["stdout"] == "1\n",
            "{status}: {result}"
        );
        stage.only(&manager.parked(stage, 1).await?).await
    })
    .await
}

/// The answer to a script that is running while `fault` happens.
async fn during(manager: &Manager, fault: impl AsyncFnOnce()) -> Result<(StatusCode, Value)> {
    let running = tokio::spawn(answer(manager.request(SLEEP, 60)));
    let runs = |status: &Value| status["running"] == 1;
    manager.until("the script runs", Duration::from_secs(10), runs).await?;
    // Its pod has it, too.
    sleep(Duration::from_millis(500)).await;
    fault().await;
    running.await?
}

/// The caller was told the truth, and so many scripts in all have been run, wholly or in part.
async fn is_lost_once(manager: &Manager, (status, body): &(StatusCode, Value), times: f64) -> Result<()> {
    let error = &body["error"];
    ensure!(
        *status == StatusCode::BAD_GATEWAY && error["code"] == "sandbox_lost" && error["retryable"] == false,
        "{status}: {body}"
    );
    manager
        .counts(r#"rockbot_scripts_runs_total{outcome="lost"}"#, times)
        .await?;
    Ok(())
}

/// The caller is told why it waited for nothing, and nothing is left of the attempts.
async fn is_unavailable(stage: &Stage, manager: &Manager, why: &str) -> Result<()> {
    let (status, body) = manager.run("print(1)", 20).await?;
    let error = &body["error"];
    ensure!(
        status == StatusCode::SERVICE_UNAVAILABLE
            && error["code"] == "sandbox_unavailable"
            && error["retryable"] == true
            && error["message"].as_str().is_some_and(|message| message.contains(why)),
        "{status}: {body}"
    );
    let told = problem(&manager.status().await?).to_owned();
    ensure!(told.contains(why), "the status says {told:?}");
    let pods = stage.pods(None).await?.len();
    ensure!(pods <= 1, "{pods} pods for one script");
    Ok(())
}

fn problem(status: &Value) -> &str {
    status["last_problem"].as_str().unwrap_or_default()
}

async fn evict(stage: &Stage, name: &str) -> Result<()> {
    let pods: Api<Pod> = stage.ns.api();
    pods.evict(name, &EvictParams::default()).await?;
    Ok(())
}
