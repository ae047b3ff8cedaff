//! A volume for one claim of a test, in a directory of the node: the cluster of `tests/cluster` makes none by itself.

use anyhow::Result;

use crate::{namespace::Namespace, node::run_on_node};

/// Runs `test` while there is a PersistentVolume for the claim `claim` of the namespace, which has no storage class.
///
/// # Errors
/// What `test` returned, and when the volume cannot be made or removed.
pub async fn with_volume(ns: &Namespace, claim: &str, test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let directory = format!("/tmp/{}", ns.name);
    let settings = &ns.cluster.settings;
    // Whom the directory of a node belongs to is nothing that a pod's fsGroup changes.
    run_on_node(settings, &["mkdir", "--mode=0777", &directory]).await?;
    let outcome = match ns.apply(&persistent_volume(&ns.name, claim, &directory)).await {
        Ok(()) => test().await,
        Err(error) => Err(error),
    };
    // It is in no namespace, so it goes with none.
    ns.kubectl(&[
        "delete",
        "persistentvolume",
        &ns.name,
        "--ignore-not-found",
        "--wait=false",
    ])
    .await?;
    run_on_node(settings, &["rm", "-rf", &directory]).await?;
    outcome
}

fn persistent_volume(name: &str, claim: &str, directory: &str) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: {name}, labels: {{ rockbot.dev/e2e: \"true\" }} }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {{ namespace: {name}, name: {claim} }}
  hostPath: {{ path: {directory} }}
"
    )
}
