//! T16, T17: packages for scripts without a network, from a real index inside the cluster.

mod answers;
mod door;
mod parked;
mod volume;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use reqwest::StatusCode;
use rockbot_e2e::{
    Namespace,
    cluster::AGENT,
    eventually,
    fixtures::demo_agent,
    identity::token,
    parts::{ADMISSION, MANAGER, Parts, WALL},
    service::{Caller, Service},
    wait::Seen,
};
use serde_json::{Value, json};

/// The way of installers to the index.
const PACKAGES: &str = "scripts/packages";
const AUDIENCE: &str = "rockbot-scripts-manager";
/// The agent that the tests call as.
const AGENT_NAME: &str = "one";

/// A scripts manager of its own, and the token of an agent.
struct Manager {
    service: Service,
    token: String,
}

impl Manager {
    async fn open(parts: &Parts) -> Result<Self> {
        Ok(Self {
            service: parts.open_manager().await?,
            token: token(&parts.ns, &format!("agent-{AGENT_NAME}"), Some(AUDIENCE), None).await?,
        })
    }

    async fn answer(&self, packages: &[&str], script: &str, input: &Value) -> Result<(StatusCode, Value)> {
        let body = json!({ "script": script, "input_data": input, "pip_packages": packages });
        let (status, text) = self
            .service
            .post("/v1/scripts", &body, Caller::with(&self.token))
            .await?;
        Ok((
            status,
            serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?,
        ))
    }

    /// What a script prints that succeeds.
    async fn run(&self, packages: &[&str], script: &str) -> Result<String> {
        Ok(self.run_in(packages, script).await?.1)
    }

    /// The pod of a script that succeeds, and what it prints.
    async fn run_in(&self, packages: &[&str], script: &str) -> Result<(String, String)> {
        let (status, answer) = self.answer(packages, script, &Value::Null).await?;
        ensure!(
            status == StatusCode::OK && answer["exit_code"] == 0,
            "{packages:?}: {status} {answer}"
        );
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        Ok((text("script_id"), text("stdout")))
    }

    async fn status(&self) -> Result<Value> {
        let (_, status) = self.service.get("/v1/status", Caller::default()).await?;
        Ok(serde_json::from_str(&status)?)
    }

    /// The value of a metric; zero when it is not there.
    async fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.service.get("/metrics", Caller::default()).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(Ok(0.0), |value| value.parse().context("not a number"))
    }

    /// Status, code and message of a refusal.
    async fn refusal(&self, packages: &[&str]) -> Result<(u16, String, String)> {
        let (status, answer) = self.answer(packages, "pass", &Value::Null).await?;
        let text = |field: &str| answer["error"][field].as_str().unwrap_or_default().to_owned();
        Ok((status.as_u16(), text("code"), text("message")))
    }
}

/// Starts an index and a scripts manager that installs from it, with more `values`.
async fn with_packages(ns: &Namespace, values: &[&str], test: impl AsyncFnOnce(Parts) -> Result<()>) -> Result<()> {
    ns.apply(&demo_agent(AGENT_NAME)).await?;
    start_index(ns).await?;
    ns.ready(AGENT, AGENT_NAME).await?;
    let index = format!("scripts.packages.index=http://index.{}.svc/simple", ns.name);
    let peer = r"scripts.packages.egress[0].to[0].namespaceSelector.matchLabels.kubernetes\.io/metadata\.name";
    let peer = format!("{peer}={}", ns.name);
    let pod = "scripts.packages.egress[0].to[0].podSelector.matchLabels.app=index";
    let port = "scripts.packages.egress[0].ports[0].port=8080";
    let values = [&["scripts.packages.enabled=true", &index, &peer, pod, port], values].concat();
    let templates = [&MANAGER[..], &[WALL, PACKAGES, ADMISSION]].concat();
    Parts::with(ns, &templates, &values, test).await
}

async fn start_index(ns: &Namespace) -> Result<()> {
    ns.apply(include_str!("index.yaml")).await?;
    ns.kubectl(&["wait", "pod/index", "--for=condition=Ready", "--timeout=60s"])
        .await
        .map(drop)
}

async fn stop_index(ns: &Namespace) -> Result<()> {
    ns.kubectl(&["delete", "pod/index", "--wait"]).await.map(drop)
}

/// Every pod that installed something is deleted soon after it.
async fn no_installer_is_left(parts: &Parts) -> Result<()> {
    let pods: Api<Pod> = parts.scripts.api();
    let installers = ListParams::default().labels("app.kubernetes.io/component=package-installer");
    eventually("no installer is left", Duration::from_secs(30), async || {
        let left: Vec<_> = pods
            .list(&installers)
            .await?
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
    })
    .await
}
