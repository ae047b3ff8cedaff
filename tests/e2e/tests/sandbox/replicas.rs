//! T18: managers that share a namespace leave each other's pods alone, and clean up after one that died.

use std::time::Duration;

use anyhow::{Result, ensure};
use rockbot_e2e::manager::{answer, names_of, on_stage};
use serde_json::Value;

#[tokio::test]
async fn t18_two_managers_share_a_namespace_and_one_survives_the_other() -> Result<()> {
    on_stage("replicas", async |stage| {
        let (one, two) = tokio::try_join!(stage.manager(&["--pool-min=2"]), stage.manager(&["--pool-min=2"]))?;
        let (of_one, of_two) = tokio::try_join!(one.parked(stage, 2), two.parked(stage, 2))?;
        ensure!(of_one.iter().all(|pod| !of_two.contains(pod)), "{of_one:?}, {of_two:?}");

        // The one dies while it has two parked pods and a running script.
        let running = tokio::spawn(answer(one.request("import time; time.sleep(120)", 120)));
        let runs = |status: &Value| status["running"] == 1;
        one.until("the script runs", Duration::from_secs(10), runs).await?;
        one.kill().await?;
        ensure!(running.await?.is_err(), "a dead manager has answered");
        stage.only(&of_two).await?;
        ensure!(
            names_of(&stage.pods(Some(&two)).await?) == of_two,
            "the survivor's pods were touched"
        );
        ensure!(
            two.metric("rockbot_scripts_pods_swept_total").await? >= 1.0,
            "who else swept?"
        );
        two.prints("print(1)", "1\n").await?;
        stage.only(&two.parked(stage, 2).await?).await
    })
    .await
}
