//! T18: the pool grows with what is asked of it, is never larger than it may be, and does not get old.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rockbot_e2e::{
    eventually,
    manager::{names_of, on_stage},
    wait::Seen,
};
use serde_json::Value;
use tokio::time::sleep;

#[tokio::test]
async fn t18_the_pool_grows_with_demand_up_to_its_bound() -> Result<()> {
    on_stage("pool", async |stage| {
        let manager = stage
            .manager(&["--pool-min=1", "--pool-max=3", "--max-concurrent-per-agent=8"])
            .await?;
        manager.parked(stage, 1).await?;
        let pods = try_join_all((0..6).map(|_| manager.prints("print(6*7)", "42\n"))).await?;
        let mut different = pods.clone();
        different.sort();
        different.dedup();
        ensure!(different.len() == pods.len(), "a pod served two scripts: {pods:?}");
        let parked = manager.parked(stage, 3).await?;
        ensure!(parked.iter().all(|pod| !pods.contains(pod)), "a used pod is parked");
        let status = manager.status().await?;
        ensure!(
            status["pools"][0]["target"] == 3 && status["pools"][0]["packages"] == Value::Null,
            "{status}"
        );
        ensure!(
            status["refill_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0),
            "{status}"
        );
        let held = status["walls"]["held"].as_array().map_or(0, Vec::len);
        ensure!(
            held > 0 && status["walls"]["missing"] == Value::Array(Vec::new()),
            "{status}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t18_without_a_pool_each_script_starts_a_pod() -> Result<()> {
    on_stage("cold", async |stage| {
        let manager = stage.manager(&["--pool-min=0", "--pool-max=0"]).await?;
        let one = manager.prints("print(1)", "1\n").await?;
        let two = manager.prints("print(2)", "2\n").await?;
        ensure!(one != two, "{one} was used twice");
        ensure!(manager.metric("rockbot_scripts_cold_starts_total").await? == 2.0);
        let none = |status: &Value| status["parked"] == 0 && status["starting"] == 0;
        manager.until("nothing is parked", Duration::from_secs(5), none).await?;
        stage.only(&[]).await
    })
    .await
}

#[tokio::test]
async fn t18_parked_pods_are_replaced_before_they_are_old_and_no_script_is_lost() -> Result<()> {
    on_stage("age", async |stage| {
        let mut manager = stage.manager(&["--pool-min=2", "--pool-max-age-seconds=5"]).await?;
        let first = manager.parked(stage, 2).await?;
        // All the time, so that scripts come when pods go.
        let mut scripts = 0;
        eventually("none of the first pods is there", Duration::from_secs(60), async || {
            manager.prints("print(6*7)", "42\n").await?;
            scripts += 1;
            sleep(Duration::from_millis(500)).await;
            let left = names_of(&stage.pods(None).await?);
            let old: Vec<_> = first.iter().filter(|pod| left.contains(pod)).collect();
            Ok(Seen::when(old.is_empty() && scripts >= 20, || {
                format!("{scripts} scripts, {old:?}")
            }))
        })
        .await?;
        let succeeded = manager
            .metric(r#"rockbot_scripts_runs_total{outcome="succeeded"}"#)
            .await?;
        ensure!(succeeded >= f64::from(scripts), "{succeeded} of {scripts}");
        for outcome in ["lost", "unavailable", "failed"] {
            let others = format!("rockbot_scripts_runs_total{{outcome=\"{outcome}\"}}");
            ensure!(manager.metric(&others).await? == 0.0, "{outcome}");
        }
        let failures = manager.metric("rockbot_scripts_sandbox_start_failures_total").await?;
        ensure!(failures == 0.0, "{failures} pods did not start");
        manager.stop().await?;
        stage.only(&[]).await
    })
    .await
}
