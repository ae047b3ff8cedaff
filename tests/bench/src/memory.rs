//! Resident memory of every component while nothing happens.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use rockbot_e2e::{
    Namespace,
    node::container_id,
    release::{NAMESPACE, SCRIPTS_NAMESPACE},
};

use crate::report::{Memory, Report};

/// Adds the memory of the operator, the scripts manager, an agent and a parked script pod.
pub(crate) async fn measure(ns: &Namespace, report: &mut Report) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let of_ours = "app.kubernetes.io/component in (operator, scripts-manager, agent)";
    for namespace in [NAMESPACE, &ns.name] {
        let pods: Api<Pod> = Api::namespaced(ns.cluster.client.clone(), namespace);
        for pod in pods.list(&ListParams::default().labels(of_ours)).await? {
            let what = pod
                .labels()
                .get("app.kubernetes.io/component")
                .cloned()
                .unwrap_or_default();
            report.memory.push(Memory {
                what,
                rss_mib: resident(&pod)?,
            });
        }
    }
    let scripts: Api<Pod> = Api::namespaced(ns.cluster.client.clone(), SCRIPTS_NAMESPACE);
    let parked = scripts
        .list(&ListParams::default().fields("status.phase=Running"))
        .await?;
    let pod = parked.items.first().context("no script pod is parked")?;
    report.memory.push(Memory {
        what: "parked script pod (shared pages counted twice)".into(),
        rss_mib: resident(pod)?,
    });
    Ok(())
}

/// Sum over the processes of the pod's container, read from the node's /proc.
fn resident(pod: &Pod) -> Result<f64> {
    let id = container_id(pod)?;
    let mut kib = 0.0;
    for process in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let read = |file: &str| std::fs::read_to_string(process.path().join(file)).unwrap_or_default();
        if read("cgroup").contains(id) {
            let status = read("status");
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .unwrap_or_default();
            kib += line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default();
        }
    }
    ensure!(
        kib > 0.0,
        "no process of {} was found: is this the cluster's node?",
        pod.name_any()
    );
    Ok(kib / 1024.0)
}
