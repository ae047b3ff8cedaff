//! Memory of every component while nothing happens.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use rockbot_e2e::{
    Namespace, eventually,
    node::container_id,
    release::{NAMESPACE, SCRIPTS_NAMESPACE},
    wait::Seen,
};

use crate::{
    manager::Manager,
    report::{Memory, Report},
};

/// Longest start of many script pods.
const FILL_DEADLINE: Duration = Duration::from_secs(120);

/// Adds the memory of the operator, the scripts manager and an agent.
pub(crate) async fn measure(ns: &Namespace, report: &mut Report) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let of_ours = "app.kubernetes.io/component in (operator, scripts-manager, agent)";
    for namespace in [NAMESPACE, &ns.name] {
        for pod in list(ns, namespace, of_ours).await? {
            let what = pod
                .labels()
                .get("app.kubernetes.io/component")
                .cloned()
                .unwrap_or_default();
            report.memory.push(Memory {
                what: format!("{what}, resident"),
                mib: of(&pod, "status", "VmRSS:")?,
            });
        }
    }
    Ok(())
}

/// Adds the memory of the scripts manager and of one script pod while `pods` of them are parked.
pub(crate) async fn measure_parked(ns: &Namespace, pods: usize, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    eventually(&format!("{pods} pods are parked"), FILL_DEADLINE, async || {
        let parked = manager.at_rest().await?.parked;
        Ok(Seen::when(parked >= pods, || format!("{parked} are")))
    })
    .await?;
    for pod in list(ns, NAMESPACE, "app.kubernetes.io/component=scripts-manager").await? {
        report.memory.push(Memory {
            what: format!("scripts-manager with {pods} parked pods, resident"),
            mib: of(&pod, "status", "VmRSS:")?,
        });
    }
    let parked = list(ns, SCRIPTS_NAMESPACE, "").await?;
    let pod = parked.first().context("no script pod is parked")?;
    report.memory.push(Memory {
        what: "parked script pod, resident (shared pages counted twice)".to_owned(),
        mib: of(pod, "status", "VmRSS:")?,
    });
    report.memory.push(Memory {
        what: format!("parked script pod, its share of what {pods} have in common included"),
        mib: of(pod, "smaps_rollup", "Pss:")?,
    });
    Ok(())
}

async fn list(ns: &Namespace, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(ns.cluster.client.clone(), namespace);
    let running = ListParams::default().labels(labels).fields("status.phase=Running");
    Ok(pods.list(&running).await?.items)
}

/// Sum over the processes of the pod's container of a line of a file in the node's /proc. Processes that have one memory
/// together, as a script's and its anchor, say the same of it to the byte, and count once.
fn of(pod: &Pod, file: &str, line: &str) -> Result<f64> {
    let id = container_id(pod)?;
    let (mut kib, mut memories) = (0.0, HashSet::new());
    for process in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let read = |file: &str| std::fs::read_to_string(process.path().join(file)).unwrap_or_default();
        if read("cgroup").contains(id) && memories.insert(read("smaps_rollup")) {
            let text = read(file);
            let amount = text
                .lines()
                .find_map(|found| found.strip_prefix(line))
                .unwrap_or_default();
            kib += amount.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default();
        }
    }
    ensure!(
        kib > 0.0,
        "no process of {} was found: is this the cluster's node?",
        pod.name_any()
    );
    Ok(kib / 1024.0)
}
