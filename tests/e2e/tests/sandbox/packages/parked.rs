//! T18: packages and the pods that are there: those that are used often are parked, and installers take their place among
//! the pods that there may be.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use rockbot_e2e::{eventually, in_namespace, parts::Parts, wait::Seen};
use serde_json::{Value, json};

use super::{Manager, with_packages};

/// Longest start of a pod, with packages to unpack and import.
const START: Duration = Duration::from_secs(60);

#[tokio::test]
async fn t18_packages_that_are_used_often_have_parked_pods_in_which_they_are_imported() -> Result<()> {
    in_namespace("hot", async |ns| {
        with_packages(ns, &["scriptsManager.pool.max=8"], async |parts| {
            let manager = Manager::open(&parts).await?;
            let look = "import sys; print('six' in sys.modules)";
            let script = format!("{look}; import six");
            for _ in 0..3 {
                let (pod, imported) = manager.run_in(&["six"], &script).await?;
                ensure!(
                    imported == "False\n",
                    "six was imported in {pod} before it was used often"
                );
            }
            let own = parked_with_packages(&manager, &parts).await?;
            let (pod, imported) = manager.run_in(&[], look).await?;
            ensure!(
                !own.contains(&pod) && imported == "False\n",
                "{pod} of {own:?}: {imported}"
            );
            let (pod, imported) = manager.run_in(&["six"], &script).await?;
            ensure!(
                own.contains(&pod) && imported == "True\n",
                "{pod} of {own:?}: {imported}"
            );
            let next = parked_with_packages(&manager, &parts).await?;
            ensure!(!next.contains(&pod), "{pod} is parked again");
            Ok(())
        })
        .await
    })
    .await
}

/// The names of the pods that are parked for packages, once there are as many as there should be.
async fn parked_with_packages(manager: &Manager, parts: &Parts) -> Result<Vec<String>> {
    eventually("packages have parked pods", START, async || {
        let status = manager.status().await?;
        let pools = status["pools"].as_array().context("no pools")?;
        let pool = pools.iter().find(|pool| pool["packages"].is_string());
        let full = pool.filter(|pool| pool["target"].as_u64() > Some(0) && pool["parked"] == pool["target"]);
        let pods = parts.scripts.api::<Pod>().list(&ListParams::default()).await?.items;
        let made: Vec<_> = pods
            .iter()
            .filter(|pod| is_made_for_six(pod))
            .map(ResourceExt::name_any)
            .collect();
        Ok(match full {
            Some(pool) if pool["parked"] == made.len() => Seen::Done(made),
            _ => Seen::NotYet(format!("{made:?} are made for six: {status}")),
        })
    })
    .await
}

/// A pod says in its command what is imported beforehand.
fn is_made_for_six(pod: &Pod) -> bool {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let command = container.and_then(|container| container.command.as_ref());
    command.is_some_and(|command| command.last().is_some_and(|last| last == "preload=six"))
}

#[tokio::test]
async fn t16_an_installer_waits_for_room_in_the_quota_and_nobody_waits_for_it() -> Result<()> {
    in_namespace("room", async |ns| {
        with_packages(ns, &[], async |parts| {
            let manager = Manager::open(&parts).await?;
            // The parked pod is all that there may be.
            let quotas: Api<ResourceQuota> = parts.scripts.api();
            let quota = json!({ "metadata": { "name": "one" }, "spec": { "hard": { "pods": "1" } } });
            quotas
                .create(&PostParams::default(), &serde_json::from_value(quota)?)
                .await?;
            eventually("the quota is used up", START, async || {
                let status = quotas.get("one").await?.status;
                let used = status.and_then(|status| status.used?.get("pods").cloned());
                Ok(Seen::when(used.as_ref().is_some_and(|used| used.0 == "1"), || {
                    format!("{used:?}")
                }))
            })
            .await?;
            let waiting = manager.run(&["six"], "import six; print('here')");
            let meanwhile = async {
                parts.logged("an installer of packages waits for room").await?;
                let printed = manager.run(&[], "print('not held up')").await?;
                quotas.delete("one", &DeleteParams::default()).await?;
                Ok(printed)
            };
            let (waited, printed) = tokio::try_join!(waiting, meanwhile)?;
            ensure!(
                (waited.as_str(), printed.as_str()) == ("here\n", "not held up\n"),
                "{waited} {printed}"
            );
            let status: Value = manager.status().await?;
            ensure!(status["last_problem"].is_null(), "{status}");
            Ok(())
        })
        .await
    })
    .await
}
