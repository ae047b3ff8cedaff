//! The cluster under test: a client of its API, `kubectl` and `helm`.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::process::Command;

use crate::{
    process::{self, Output},
    settings::Settings,
};

const DEADLINE: Duration = Duration::from_secs(120);

/// A client of the cluster under test.
#[derive(Clone)]
pub struct Cluster {
    /// Where its tools are.
    pub settings: Settings,
    /// Its API.
    pub client: Client,
}

impl Cluster {
    /// Connects to the cluster of the settings.
    ///
    /// # Errors
    /// When there is no kubeconfig or the API server does not answer.
    pub async fn connect() -> Result<Self> {
        let settings = Settings::read()?;
        let path = settings.kubeconfig();
        let file = Kubeconfig::read_from(&path)
            .with_context(|| format!("no cluster at {}; run `make cluster-up`", path.display()))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        client
            .apiserver_version()
            .await
            .context("the API server does not answer; run `make cluster-up`")?;
        Ok(Self { settings, client })
    }

    /// Resources of RockBot in `namespace`: `("Agent", "agents")` or `("McpServer", "mcpservers")`.
    pub fn rockbot(&self, namespace: &str, kind: (&str, &str)) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &rockbot_resource(kind))
    }

    /// `kubectl` for this cluster, without arguments yet.
    pub fn kubectl(&self) -> Command {
        let mut command = process::command(&self.settings.tool("kubectl"));
        command.env("KUBECONFIG", self.settings.kubeconfig());
        command
    }

    /// Runs `kubectl ARGS` and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run_kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.kubectl();
        command.args(args);
        process::check(command, "", DEADLINE).await
    }

    /// Runs `kubectl ARGS` with `stdin`, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot run.
    pub async fn try_kubectl(&self, args: &[&str], stdin: &str) -> Result<Output> {
        let mut command = self.kubectl();
        command.args(args);
        process::run(command, stdin, DEADLINE).await
    }

    /// Runs `helm ARGS` in the root of the repository and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run_helm(&self, args: &[&str]) -> Result<String> {
        let mut command = process::command(&self.settings.tool("helm"));
        command
            .args(args)
            .env("KUBECONFIG", self.settings.kubeconfig())
            .current_dir(self.settings.repository());
        process::check(command, "", DEADLINE).await
    }
}

/// Kind and plural of an Agent.
pub const AGENT: (&str, &str) = ("Agent", "agents");
/// Kind and plural of an McpServer.
pub const MCP_SERVER: (&str, &str) = ("McpServer", "mcpservers");

fn rockbot_resource((kind, plural): (&str, &str)) -> ApiResource {
    ApiResource {
        group: "rockbot.dev".into(),
        version: "v1alpha1".into(),
        api_version: "rockbot.dev/v1alpha1".into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}
