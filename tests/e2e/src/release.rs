//! RockBot as `helm` installs it: the two charts, and what is left when they are gone.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace as CoreNamespace};
use kube::Api;

use crate::{
    cluster::Cluster,
    wait::{Seen, eventually},
};

/// Name of the release.
pub const RELEASE: &str = "rockbot";
/// Namespace of the release.
pub const NAMESPACE: &str = "rockbot-system";
/// Namespace of script pods.
pub const SCRIPTS_NAMESPACE: &str = "rockbot-scripts";
/// Deployment and Service of the operator.
pub const OPERATOR: &str = "rockbot-operator";
/// Deployment and Service of the scripts manager.
pub const SCRIPTS_MANAGER: &str = "rockbot-scripts-manager";

/// Installs both charts, as the README says.
///
/// # Errors
/// When helm fails.
pub async fn install(cluster: &Cluster) -> Result<()> {
    cluster
        .run_helm(&["install", "rockbot-crds", "helm/rockbot-crds", "--wait"])
        .await?;
    deploy(cluster, "install", &["--create-namespace"]).await
}

/// `helm VERB` of the product's chart with the values that this cluster needs and `extra` arguments.
///
/// # Errors
/// When helm fails.
pub async fn deploy(cluster: &Cluster, verb: &str, extra: &[&str]) -> Result<()> {
    let dns = format!("networkPolicy.dnsCIDRs={{{}}}", cluster.settings.dns_cidrs().join(","));
    let mut args = vec![verb, RELEASE, "helm/rockbot", "--namespace", NAMESPACE, "--set", &dns];
    args.extend(["--wait", "--timeout=90s"]);
    args.extend(extra);
    cluster.run_helm(&args).await.map(drop)
}

/// Removes everything that an earlier run may have left: namespaces of tests, both releases, their namespaces.
///
/// # Errors
/// When something does not go.
pub async fn remove(cluster: &Cluster) -> Result<()> {
    cluster
        .run_kubectl(&["delete", "namespaces", "--selector=rockbot.dev/e2e", "--wait=false"])
        .await?;
    for (release, namespace) in [(RELEASE, NAMESPACE), ("rockbot-crds", "default")] {
        cluster
            .run_helm(&[
                "uninstall",
                release,
                "--namespace",
                namespace,
                "--ignore-not-found",
                "--wait",
            ])
            .await?;
    }
    let crds = ["agents.rockbot.dev", "mcpservers.rockbot.dev"];
    let namespaces = [NAMESPACE, SCRIPTS_NAMESPACE];
    cluster
        .run_kubectl(&[&["delete", "crds", "--ignore-not-found"][..], &crds].concat())
        .await?;
    cluster
        .run_kubectl(&[&["delete", "namespaces", "--ignore-not-found"][..], &namespaces].concat())
        .await?;
    let api: Api<CoreNamespace> = Api::all(cluster.client.clone());
    eventually(
        "namespaces of earlier tests are gone",
        Duration::from_secs(90),
        async || {
            let left = api
                .list(&kube::api::ListParams::default().labels("rockbot.dev/e2e"))
                .await?
                .items;
            Ok(Seen::when(left.is_empty(), || format!("{} are left", left.len())))
        },
    )
    .await
}

/// Fails when RockBot is not installed.
///
/// # Errors
/// That, with what to do.
pub async fn require(cluster: &Cluster) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    if deployments.get_opt(OPERATOR).await?.is_none() {
        bail!("RockBot is not installed; run `cargo test -p rockbot-e2e --test install` first");
    }
    Ok(())
}
