//! T16: parts of the node go away and come back while scripts are parked and running. A target of its own, in which one test
//! runs after the other: everybody on the node notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use rockbot_e2e::{
    manager::{Manager, answer, on_stage},
    process,
};
use serde_json::Value;
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
