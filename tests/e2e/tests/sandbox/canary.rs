//! T17: that pods do not reach a canary proves nothing while it does not answer the manager itself either.

use std::time::Duration;

use anyhow::{Result, ensure};
use rockbot_e2e::manager::on_stage;
use serde_json::Value;
use tokio::net::TcpListener;

#[tokio::test]
async fn t17_pods_are_refused_until_the_canary_answers() -> Result<()> {
    on_stage("unproven", async |stage| {
        // The manager and its pods look for the canary on their own loopback, where nobody listens yet.
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let elsewhere = format!("--canary-listen=127.0.0.2:{port}");
        let flags = ["--pool-min=1", "--pod-ip=127.0.0.1", "--require-network-policy=true"];
        let manager = stage.manager(&[&flags[..], &[&elsewhere]].concat()).await?;
        let refused = |status: &Value| {
            let problem = status["last_problem"].as_str().unwrap_or_default();
            problem.contains("the canary of this manager does not answer") && status["parked"] == 0
        };
        let status = manager
            .until("a pod is refused", Duration::from_secs(60), refused)
            .await?;
        let canary = &status["canary"];
        ensure!(
            canary["answers"] == false && canary["unknown"] != 0 && canary["blocked"] == 0,
            "{canary}"
        );

        let _canary = TcpListener::bind(("127.0.0.1", port)).await?;
        let proved = |status: &Value| status["canary"]["answers"] == true;
        manager
            .until("it is tried again", Duration::from_secs(60), proved)
            .await?;
        let parked = manager.parked(stage, 1).await?;
        ensure!(manager.prints("print(1)", "1\n").await? == parked[0]);
        stage.only(&manager.parked(stage, 1).await?).await
    })
    .await
}
