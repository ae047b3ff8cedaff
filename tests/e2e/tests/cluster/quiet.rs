//! A reconcile of an unchanged world writes nothing: counted in the API server's audit log.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use rockbot_e2e::{
    Cluster, Namespace, cluster::AGENT, eventually, fixtures::demo_agent, in_namespace, node::AuditLog, release,
    wait::Seen,
};

#[tokio::test]
async fn an_unchanged_world_is_not_written_to() -> Result<()> {
    in_namespace("quiet", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        // An Event follows the status that it is about.
        tokio::time::sleep(Duration::from_secs(2)).await;

        let log = AuditLog::from_now(&ns.cluster.settings)?;
        ns.kubectl(&["annotate", "agent", "one", "example.com/touched=yes"])
            .await?;
        restart_operator(&ns.cluster).await?;
        // A new agent elsewhere is served only by a leader that has read the whole world, the old one included.
        in_namespace("quiet-proof", async |other| {
            other.apply(&demo_agent("two")).await?;
            other.ready(AGENT, "two").await?;
            ensure!(
                !operator_writes(&log, other)?.is_empty(),
                "the audit log does not tell of the operator's writes"
            );
            Ok(())
        })
        .await?;
        let writes = operator_writes(&log, ns)?;
        ensure!(
            writes.is_empty(),
            "written although nothing changed:\n{}",
            writes.join("\n")
        );
        Ok(())
    })
    .await
}

/// Writes of the operator in the test's namespace.
fn operator_writes(log: &AuditLog, ns: &Namespace) -> Result<Vec<String>> {
    let operator = format!("system:serviceaccount:{}:{}", release::NAMESPACE, release::OPERATOR);
    let inside = format!("/namespaces/{}/", ns.name);
    let writes = log.writes(|user| user == operator)?;
    Ok(writes.into_iter().filter(|write| write.contains(&inside)).collect())
}

async fn restart_operator(cluster: &Cluster) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), release::NAMESPACE);
    let holders = async || -> Result<Vec<_>> {
        let all = leases.list(&ListParams::default()).await?.items;
        Ok(all
            .into_iter()
            .filter_map(|lease| lease.spec?.holder_identity)
            .filter(|name| !name.is_empty())
            .collect())
    };
    let before: Vec<String> = holders().await?;
    ensure!(!before.is_empty(), "nobody leads");
    let deployment = format!("deployment/{}", release::OPERATOR);
    cluster
        .run_kubectl(&["--namespace", release::NAMESPACE, "rollout", "restart", &deployment])
        .await?;
    cluster
        .run_kubectl(&[
            "--namespace",
            release::NAMESPACE,
            "rollout",
            "status",
            &deployment,
            "--timeout=60s",
        ])
        .await?;
    eventually("another process leads", Duration::from_secs(40), async || {
        let now = holders().await?;
        Ok(Seen::when(!now.is_empty() && now != before, || format!("{now:?}")))
    })
    .await
}
