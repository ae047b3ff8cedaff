//! T18: a scripts manager that is full says so, and when to come again.

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::{StatusCode, header::RETRY_AFTER};
use rockbot_e2e::manager::{answer, on_stage};
use serde_json::Value;

const SLEEP: &str = "import time; time.sleep(60)";

#[tokio::test]
async fn t18_a_script_too_many_is_told_when_to_come_again() -> Result<()> {
    on_stage("full-house", async |stage| {
        let one = [
            "--pool-min=2",
            "--queue-size=0",
            "--max-concurrent=1",
            "--max-concurrent-per-agent=1",
        ];
        let manager = stage.manager(&one).await?;
        manager.parked(stage, 2).await?;
        let sleeping = tokio::spawn(answer(manager.request(SLEEP, 60)));
        let runs = |status: &Value| status["running"] == 1;
        manager.until("the script runs", Duration::from_secs(10), runs).await?;

        let refused = manager.request("print(1)", 20).send().await?;
        let status = refused.status();
        let seconds = refused.headers().get(RETRY_AFTER).cloned();
        let body: Value = refused.json().await?;
        ensure!(
            status == StatusCode::TOO_MANY_REQUESTS
                && body["error"]["code"] == "overloaded"
                && body["error"]["retryable"] == true,
            "{status}: {body}"
        );
        let seconds: Option<u32> = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        ensure!(seconds.is_some_and(|seconds| seconds > 0), "no Retry-After: {body}");
        manager
            .counts(r#"rockbot_scripts_runs_total{outcome="overloaded"}"#, 1.0)
            .await?;

        // Its client goes, and there is room again.
        sleeping.abort();
        let over = |status: &Value| status["running"] == 0;
        manager
            .until("the script is over", Duration::from_secs(10), over)
            .await?;
        manager.prints("print(2)", "2\n").await.map(drop)
    })
    .await
}
