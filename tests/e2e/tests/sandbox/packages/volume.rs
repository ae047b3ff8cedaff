//! T16: the cache of packages on a volume.

use anyhow::{Result, ensure};
use rockbot_e2e::{Namespace, in_namespace, volume::with_volume};

use super::{Manager, stop_index, with_packages};

#[tokio::test]
async fn t16_the_cache_survives_a_restart_on_a_volume() -> Result<()> {
    in_namespace("volume", async |ns| {
        with_volume(ns, "packages", async || restart_on_volume(ns).await).await
    })
    .await
}

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: packages }
spec:
  storageClassName: \"\"
  accessModes: [ReadWriteOnce]
  resources: { requests: { storage: 1Gi } }
";

async fn restart_on_volume(ns: &Namespace) -> Result<()> {
    ns.apply(CLAIM).await?;
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
