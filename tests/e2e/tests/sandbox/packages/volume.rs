//! T16: the cache of packages on a volume.

use anyhow::{Context, Result, ensure};
use rockbot_e2e::{Namespace, in_namespace, node::run_on_node};

use super::{Manager, stop_index, with_packages};

#[tokio::test]
async fn t16_the_cache_survives_a_restart_on_a_volume() -> Result<()> {
    in_namespace("volume", async |ns| {
        let directory = format!("/tmp/{}", ns.name);
        let settings = &ns.cluster.settings;
        // Whom the directory of a node belongs to is nothing that a pod's fsGroup changes.
        run_on_node(settings, &["mkdir", "--mode=0777", &directory]).await?;
        let outcome = restart_on_volume(ns, &directory).await;
        ns.cluster
            .run_kubectl(&[
                "delete",
                "persistentvolume",
                &ns.name,
                "--ignore-not-found",
                "--wait=false",
            ])
            .await?;
        run_on_node(settings, &["rm", "-rf", &directory]).await?;
        outcome
    })
    .await
}

async fn restart_on_volume(ns: &Namespace, directory: &str) -> Result<()> {
    let volume = format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: {name}, labels: {{ rockbot.dev/e2e: \"true\" }} }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {{ namespace: {name}, name: packages }}
  hostPath: {{ path: {directory} }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: packages }}
spec:
  storageClassName: \"\"
  volumeName: {name}
  accessModes: [ReadWriteOnce]
  resources: {{ requests: {{ storage: 1Gi }} }}
",
        name = ns.name
    );
    // A volume is in no namespace, and its claim is in this one.
    let (persistent, claim) = volume.split_once("---").context("two documents")?;
    ns.cluster.try_kubectl(&["apply", "--filename=-"], persistent).await?;
    ns.apply(claim).await?;
    with_packages(ns, &["scripts.packages.cache.claim=packages"], async |parts| {
        let script = "import six; print(six.__version__)";
        let first = Manager::open(&parts).await?.run(&["six"], script).await?;
        stop_index(ns).await?;
        ns.kubectl(&["rollout", "restart", &format!("deployment/{}", parts.manager())])
            .await?;
        ns.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{}", parts.manager()),
            "--timeout=90s",
        ])
        .await?;
        let second = Manager::open(&parts).await?.run(&["six"], script).await?;
        ensure!(first == "1.17.0\n" && second == first, "{first:?}, then {second:?}");
        Ok(())
    })
    .await
}
