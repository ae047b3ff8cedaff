//! T18: managers that share a namespace leave each other's pods alone, and clean up after one that died. Behind one Service,
//! whoever asks again gets to the one that knows.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use rockbot_e2e::{
    cluster::AGENT,
    fixtures::{demo_agent, python_pod, run_pod},
    identity::token,
    in_namespace,
    manager::{answer, names_of, on_stage},
    parts::{ADMISSION, MANAGER, Parts, WALL},
};
use serde_json::Value;

/// Asks for one script over and over, each time on another connection, and prints how many pods have run it.
const ASK: &str = include_str!("../../python/ask_again.py");

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

#[tokio::test]
async fn t18_a_manager_that_was_killed_and_is_back_uses_none_of_its_old_pods_and_removes_them() -> Result<()> {
    on_stage("restart", async |stage| {
        let manager = stage.manager(&["--pool-min=2"]).await?;
        let old = manager.parked(stage, 2).await?;
        let running = tokio::spawn(answer(manager.request("import time; time.sleep(120)", 120)));
        let runs = |status: &Value| status["running"] == 1;
        manager.until("the script runs", Duration::from_secs(10), runs).await?;
        let manager = stage.restart(manager, &["--pool-min=2"]).await?;
        ensure!(running.await?.is_err(), "a dead manager has answered");
        let pod = manager.prints("print(1)", "1\n").await?;
        ensure!(!old.contains(&pod), "a pod of the dead one was used");
        let parked = manager.parked(stage, 2).await?;
        ensure!(parked.iter().all(|pod| !old.contains(pod)), "{old:?}, {parked:?}");
        stage.only(&parked).await
    })
    .await
}

#[tokio::test]
async fn t16_whoever_asks_again_gets_to_the_same_replica() -> Result<()> {
    in_namespace("again", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let templates = [&MANAGER[..], &[WALL, ADMISSION]].concat();
        Parts::with(ns, &templates, &["scriptsManager.replicas=2"], async |parts| {
            parts.open_manager().await?;
            let labels = [
                ("app.kubernetes.io/component", "agent"),
                ("app.kubernetes.io/managed-by", "rockbot-operator"),
            ];
            let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            let url = format!("http://{}.{}.svc:8080/v1/scripts", parts.manager(), ns.name);
            let token = token(ns, "agent-one", Some("rockbot-scripts-manager"), None).await?;
            let pod = python_pod("agent", &labels, ASK, &[("URL", url), ("TOKEN", token)])?;
            let pods = run_pod(ns, &pod).await?;
            ensure!(pods == "1\n", "one key was run in {pods} pods");
            Ok(())
        })
        .await
    })
    .await
}
