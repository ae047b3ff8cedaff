//! A namespace of one test: made before it, told about when it fails, deleted after it in every case.

use std::{fmt::Write as _, panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace as CoreNamespace};
use kube::{
    Api, Resource,
    api::{DeleteParams, DynamicObject, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    process::Output,
    release,
    wait::{Seen, eventually},
};

/// A namespace that exists while one test runs. It enforces Pod Security `restricted`.
#[derive(Clone)]
pub struct Namespace {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its name, new for each run.
    pub name: String,
}

/// Runs `test` in a namespace of its own; when it fails or panics, prints what was in it; deletes it afterwards.
///
/// # Errors
/// What `test` returned, and when the namespace cannot be made.
///
/// # Panics
/// When `test` panics.
pub async fn in_namespace(purpose: &str, test: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let cluster = Cluster::connect().await?;
    release::require(&cluster).await?;
    let namespace = Namespace::create(&cluster, purpose).await?;
    let outcome = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", namespace.describe_everything().await);
    }
    let deleted = namespace.delete().await;
    match outcome {
        Ok(result) => result.and(deleted),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Namespace {
    /// Makes a namespace whose name starts with `e2e-PURPOSE-`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create(cluster: &Cluster, purpose: &str) -> Result<Self> {
        let api: Api<CoreNamespace> = Api::all(cluster.client.clone());
        let object = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("e2e-{purpose}-"),
                "labels": { "pod-security.kubernetes.io/enforce": "restricted", "rockbot.dev/e2e": "true" },
            },
        }))?;
        let created = api.create(&PostParams::default(), &object).await?;
        let name = created.metadata.name.context("a namespace without a name")?;
        Ok(Self {
            cluster: cluster.clone(),
            name,
        })
    }

    /// Starts its deletion; the cluster's garbage collection does the rest.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(&self) -> Result<()> {
        let api: Api<CoreNamespace> = Api::all(self.cluster.client.clone());
        api.delete(&self.name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Objects of a built-in kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Objects of a RockBot kind in this namespace: `AGENT` or `MCP_SERVER`.
    pub fn rockbot(&self, kind: (&str, &str)) -> Api<DynamicObject> {
        self.cluster.rockbot(&self.name, kind)
    }

    /// `kubectl apply` of `yaml` in this namespace.
    ///
    /// # Errors
    /// When the API server refuses; the message is what the user would read.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        let output = self.try_apply(yaml).await?;
        ensure!(output.success(), "kubectl apply failed: {}\n{yaml}", output.stderr);
        Ok(())
    }

    /// `kubectl apply` of `yaml`, whatever comes of it.
    ///
    /// # Errors
    /// When kubectl cannot run.
    pub async fn try_apply(&self, yaml: &str) -> Result<Output> {
        self.cluster
            .try_kubectl(&["apply", "--namespace", &self.name, "--filename=-"], yaml)
            .await
    }

    /// Runs `kubectl ARGS` in this namespace and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", self.name.as_str()];
        all.extend(args);
        self.cluster.run_kubectl(&all).await
    }

    /// Waits until the condition `Ready` of a RockBot object is true for its present generation.
    ///
    /// # Errors
    /// When it is not within a minute; the message carries the condition's own message.
    pub async fn ready(&self, kind: (&str, &str), name: &str) -> Result<DynamicObject> {
        let api = self.rockbot(kind);
        eventually(
            &format!("{} {name} is ready", kind.0),
            Duration::from_secs(60),
            async || {
                let object = api.get(name).await?;
                let conditions = &object.data["status"]["conditions"];
                let ready = find_condition(conditions, "Ready").cloned().unwrap_or(Value::Null);
                let current = ready["observedGeneration"].as_i64() == object.metadata.generation;
                Ok(if ready["status"] == "True" && current {
                    Seen::Done(object)
                } else {
                    Seen::NotYet(format!(
                        "generation {:?}, conditions {conditions}",
                        object.metadata.generation
                    ))
                })
            },
        )
        .await
    }

    /// Waits until no object of a kind is left that `selector` selects.
    ///
    /// # Errors
    /// When one is left after a minute.
    pub async fn gone<K>(&self, what: &str, selector: &str) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = self.api::<K>();
        let list = kube::api::ListParams::default().labels(selector);
        eventually(
            &format!("no {what} of {selector} is left"),
            Duration::from_secs(60),
            async || {
                let left: Vec<_> = api
                    .list(&list)
                    .await?
                    .into_iter()
                    .map(|object| object.meta().name.clone())
                    .collect();
                Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
            },
        )
        .await
    }

    /// Names of all objects in here, of every kind that can be listed; events aside, which outlive what they tell of.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn everything(&self) -> Result<Vec<String>> {
        let kinds = ["api-resources", "--namespaced", "--verbs=list", "--output=name"];
        let kinds = self.kubectl(&kinds).await?;
        let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let names = ["get", &kinds.join(","), "--output=name", "--ignore-not-found"];
        Ok(self.kubectl(&names).await?.lines().map(str::to_owned).collect())
    }

    /// What a person would look at first when something in here does not work.
    async fn describe_everything(&self) -> String {
        let mut report = format!("\n===== what was in namespace {} =====\n", self.name);
        let all = "agents,mcpservers,deployments,replicasets,pods,services,networkpolicies,configmaps";
        let looks: [&[&str]; 3] = [
            &["get", all, "--output=wide"],
            &["describe", "agents,mcpservers,pods"],
            &["get", "events", "--sort-by=.lastTimestamp"],
        ];
        for look in looks {
            let text = self.kubectl(look).await.unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(report, "--- kubectl {}\n{text}", look.join(" "));
        }
        let pods = self
            .kubectl(&["get", "pods", "--output=name"])
            .await
            .unwrap_or_default();
        for pod in pods.lines() {
            let look = ["logs", pod, "--all-containers", "--tail=60"];
            let text = self.kubectl(&look).await.unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(report, "--- {pod}\n{text}");
        }
        for component in ["operator", "scripts-manager"] {
            let selector = format!("--selector=app.kubernetes.io/component={component}");
            let look = ["--namespace=rockbot-system", "logs", &selector, "--tail=40", "--prefix"];
            let text = self
                .cluster
                .run_kubectl(&look)
                .await
                .unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(report, "--- {component}\n{text}");
        }
        report
    }
}

/// The condition of type `kind` in a list of conditions.
pub fn find_condition<'a>(conditions: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}
