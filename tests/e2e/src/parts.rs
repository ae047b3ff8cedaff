//! Parts of the chart under names of their own, beside the installed release: for tests of what one part does without
//! another, or of what breaks without it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{
    namespace::Namespace,
    release::SCRIPTS_MANAGER,
    service::Service,
    wait::{Seen, eventually},
};

/// The admission policy of the scripts namespace.
pub const ADMISSION: &str = "scripts/admission";
/// The NetworkPolicy around scripts.
pub const WALL: &str = "scripts/wall";
/// The scripts manager and the namespace of its scripts, with neither of these; it makes no pod before [`ADMISSION`].
pub const MANAGER: [&str; 7] = [
    "scripts/namespace",
    "scripts-manager/serviceaccount",
    "scripts-manager/rbac",
    "scripts-manager/service",
    "scripts-manager/deployment",
    "scripts-manager/networkpolicy",
    "scripts/limits",
];

/// A release made of some of the chart's templates: its services in the namespace of a test, its scripts in another one.
#[derive(Clone)]
pub struct Parts {
    /// Namespace of its services, and its name.
    pub ns: Namespace,
    /// Namespace of its scripts.
    pub scripts: Namespace,
    values: Vec<String>,
}

impl Parts {
    /// Applies `templates` with `values` (`KEY=VALUE`), runs `test`, and removes what does not go with a namespace.
    ///
    /// # Errors
    /// What `test` returned, and when the chart cannot be applied.
    pub async fn with(
        ns: &Namespace,
        templates: &[&str],
        values: &[&str],
        test: impl AsyncFnOnce(Parts) -> Result<()>,
    ) -> Result<()> {
        let parts = Self {
            scripts: Namespace {
                cluster: ns.cluster.clone(),
                name: format!("{}-scripts", ns.name),
            },
            ns: ns.clone(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let outcome = match parts.apply(templates, &[]).await {
            Ok(()) => test(parts.clone()).await,
            Err(error) => Err(error),
        };
        outcome.and(parts.remove().await)
    }

    /// Applies `templates` with more values.
    ///
    /// # Errors
    /// When helm or the API server refuses.
    pub async fn apply(&self, templates: &[&str], values: &[&str]) -> Result<()> {
        self.kubectl(&["apply", "--filename=-"], templates, values).await
    }

    /// Deletes the objects of `templates` and waits until they are gone.
    ///
    /// # Errors
    /// When helm or the API server refuses.
    pub async fn delete(&self, templates: &[&str]) -> Result<()> {
        self.kubectl(&["delete", "--ignore-not-found", "--filename=-"], templates, &[])
            .await
    }

    /// A namespace for scripts that no template made: without Pod Security, which would have its say first.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn make_open_namespace(ns: &Namespace) -> Result<()> {
        let object = json!({
            "metadata": { "name": format!("{}-scripts", ns.name), "labels": { "rockbot.dev/e2e": "true" } },
        });
        let namespaces: Api<CoreNamespace> = Api::all(ns.cluster.client.clone());
        namespaces
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(())
    }

    /// Name of the scripts manager's objects.
    pub fn manager(&self) -> String {
        format!("{}-{SCRIPTS_MANAGER}", self.ns.name)
    }

    /// Waits until the scripts manager is up, and opens it.
    ///
    /// # Errors
    /// When it is not within a minute.
    pub async fn open_manager(&self) -> Result<Service> {
        let name = self.manager();
        self.ns
            .kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=60s"])
            .await?;
        Service::open(&self.ns.cluster, &self.ns.name, &name).await
    }

    /// Waits until the scripts manager's log has `text`.
    ///
    /// # Errors
    /// When it has not within half a minute.
    pub async fn logged(&self, text: &str) -> Result<()> {
        let selector = "--selector=app.kubernetes.io/component=scripts-manager";
        eventually(&format!("the log says {text:?}"), Duration::from_secs(30), async || {
            let log = self.ns.kubectl(&["logs", selector, "--tail=-1"]).await?;
            Ok(Seen::when(log.contains(text), || log))
        })
        .await
    }

    async fn kubectl(&self, verb: &[&str], templates: &[&str], values: &[&str]) -> Result<()> {
        let yaml = self.render(templates, values).await?;
        let done = self.ns.cluster.try_kubectl(verb, &yaml).await?;
        ensure!(done.success(), "kubectl {}: {}", verb[0], done.stderr);
        Ok(())
    }

    async fn render(&self, templates: &[&str], values: &[&str]) -> Result<String> {
        let cluster = &self.ns.cluster;
        let release = self.ns.name.as_str();
        let namespace = format!("scripts.namespace={}", self.scripts.name);
        let dns = format!("networkPolicy.dnsCIDRs={{{}}}", cluster.settings.dns_cidrs().join(","));
        let mut args = vec!["template", release, "helm/rockbot", "--namespace", release];
        args.extend([
            "--set",
            &namespace,
            "--set",
            &dns,
            "--set",
            "scriptsManager.pool.min=1,scriptsManager.pool.max=1",
        ]);
        for value in self.values.iter().map(String::as_str).chain(values.iter().copied()) {
            args.extend(["--set", value]);
        }
        let files: Vec<_> = templates
            .iter()
            .map(|name| format!("--show-only=templates/{name}.yaml"))
            .collect();
        args.extend(files.iter().map(String::as_str));
        cluster.run_helm(&args).await
    }

    /// Removes what belongs to the whole cluster: its objects bear the name of the release.
    async fn remove(&self) -> Result<()> {
        let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                     runtimeclasses";
        let selector = format!("--selector=app.kubernetes.io/instance={}", self.ns.name);
        let cluster = &self.ns.cluster;
        cluster
            .run_kubectl(&["delete", kinds, &selector, "--wait=false"])
            .await
            .context("objects of the cluster are left")?;
        cluster
            .run_kubectl(&[
                "delete",
                "namespace",
                &self.scripts.name,
                "--wait=false",
                "--ignore-not-found",
            ])
            .await
            .map(drop)
    }
}
