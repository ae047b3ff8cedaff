//! Scripts that find no parked pod, beside bare pods of the same shape.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rockbot_e2e::Namespace;
use tokio::time::sleep;

use crate::{manager::Manager, pods, progress::Progress, report::Report, stats::Samples};

/// The teardown of a pod takes about so long.
const TEARDOWN: Duration = Duration::from_secs(3);

/// Scripts without a pool, one after the other; bare pods of the same shape between them.
pub(crate) async fn measure(ns: &Namespace, shape: &Pod, n: usize, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let api: Api<Pod> = ns.api();
    let (mut cold, mut bare) = (Samples::default(), Samples::default());
    let progress = Progress::new("cold scripts", n);
    for _ in 0..n {
        let (name, duration) = pods::start(&api, shape).await?;
        bare.push(duration);
        pods::stop(&api, &name).await?;
        cold.push(manager.run_well().await?.took);
        progress.step();
        sleep(TEARDOWN).await;
    }
    let baseline = "bare pod of the same shape, create to Running";
    report.duration(baseline, bare.summary());
    report.ratio(
        "cold script (no pool), request to answer",
        cold.summary(),
        (baseline, bare.summary()),
    );
    Ok(())
}
