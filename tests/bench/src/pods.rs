//! Bare pods: what Kubernetes itself costs on this node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use rockbot_e2e::{Namespace, eventually, release::SCRIPTS_NAMESPACE, wait::Seen};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

/// A pod like those that scripts run in, for the namespace of the benchmark.
pub(crate) async fn like_a_script(ns: &Namespace) -> Result<Pod> {
    let scripts: Api<Pod> = Api::namespaced(ns.cluster.client.clone(), SCRIPTS_NAMESPACE);
    let parked = eventually("a script pod is parked", DEADLINE, async || {
        let first = scripts.list(&ListParams::default()).await?.items.into_iter().next();
        Ok(first.map_or_else(|| Seen::NotYet("none".to_owned()), Seen::Done))
    })
    .await?;
    let mut pod = Pod {
        spec: parked.spec,
        ..Pod::default()
    };
    pod.metadata.generate_name = Some("bare-".to_owned());
    pod.metadata.labels = parked.metadata.labels;
    pod.spec.as_mut().context("a pod without a spec")?.node_name = None;
    Ok(pod)
}

/// Creates a pod and waits until it runs; returns its name and how long that took.
pub(crate) async fn start(pods: &Api<Pod>, pod: &Pod) -> Result<(String, Duration)> {
    let begin = Instant::now();
    let name = pods.create(&PostParams::default(), pod).await?.name_any();
    let running = await_condition(pods.clone(), &name, conditions::is_pod_running());
    timeout(DEADLINE, running)
        .await
        .with_context(|| format!("pod {name} does not run"))??;
    Ok((name, begin.elapsed()))
}

/// Deletes a pod as the scripts manager does, and waits until it is gone.
pub(crate) async fn stop(pods: &Api<Pod>, name: &str) -> Result<()> {
    let uid = pods.get(name).await?.uid().context("a pod without a uid")?;
    pods.delete(name, &DeleteParams::default().grace_period(1)).await?;
    let gone = await_condition(pods.clone(), name, conditions::is_deleted(&uid));
    timeout(DEADLINE, gone)
        .await
        .with_context(|| format!("pod {name} does not go"))??;
    Ok(())
}
