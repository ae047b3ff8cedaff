//! Limits that an installation sets: a scripts manager that is full says so, and when to come again; files beyond what may
//! come back are named instead.

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

#[tokio::test]
async fn t16_files_that_are_too_many_for_the_installation_are_named() -> Result<()> {
    on_stage("few-files", async |stage| {
        let manager = stage.manager(&["--pool-min=1", "--max-files-bytes=1000"]).await?;
        let script = "import os\nos.chdir(os.environ['ROCKBOT_OUTPUT_DIR'])\n\
                      open('fits', 'w').write('x' * 1000)\nopen('too much', 'w').write('y')";
        let (status, result) = manager.run(script, 20).await?;
        ensure!(status == StatusCode::OK, "{status}: {result}");
        let names = |field: &str| -> Vec<String> {
            let files = result[field].as_array().into_iter().flatten();
            files
                .filter_map(|file| Some(file["name"].as_str()?.to_owned()))
                .collect()
        };
        ensure!(
            names("files") == ["fits"] && names("files_dropped") == ["too much"],
            "{result}"
        );
        Ok(())
    })
    .await
}
