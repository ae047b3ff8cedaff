//! Where things are: the cluster, its tools, the binaries under test. Read once, with clap, from the environment.
//!
//! Every default is what `tests/e2e/run` leaves behind, so that `cargo test -p rockbot-e2e --test cluster` alone works
//! after it.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Parser;

/// The environment of the tests.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true)]
pub struct Settings {
    /// Kubeconfig of a cluster of your own; the one of `tests/cluster` otherwise.
    #[arg(long, env = "E2E_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// `kind` for the cluster that `CLUSTER=kind tests/cluster/up` makes.
    #[arg(long, env = "CLUSTER")]
    cluster: Option<String>,
    /// Audit log of that cluster's API server, one JSON event per line.
    #[arg(long, env = "E2E_AUDIT_LOG")]
    audit_log: Option<PathBuf>,
    /// Command that runs its arguments as root on the cluster's node.
    #[arg(long, env = "E2E_RUN_ON_NODE")]
    run_on_node: Option<PathBuf>,
    /// CIDRs of the cluster's DNS servers, where they are not pods of `kube-system`; comma-separated.
    #[arg(long, env = "E2E_DNS_CIDRS", value_delimiter = ',')]
    dns_cidrs: Option<Vec<String>>,
    /// Directory of the release binaries.
    #[arg(long, env = "E2E_BIN_DIR")]
    bin_dir: Option<PathBuf>,
    /// Build directory of cargo.
    #[arg(long, env = "CARGO_TARGET_DIR")]
    target_dir: Option<PathBuf>,
    /// User's cache directory.
    #[arg(long, env = "XDG_CACHE_HOME")]
    cache_home: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable does not parse.
    pub fn read() -> Result<Self> {
        Settings::try_parse_from(std::iter::empty::<&str>()).context("cannot read the environment of the tests")
    }

    /// Root of the repository.
    pub fn repository(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Kubeconfig of the cluster under test.
    pub fn kubeconfig(&self) -> PathBuf {
        let ours = if self.is_kind() {
            "kind.kubeconfig"
        } else {
            "kubeconfig"
        };
        self.kubeconfig
            .clone()
            .unwrap_or_else(|| self.cache().join("cluster/run").join(ours))
    }

    /// Audit log of the cluster under test.
    ///
    /// # Errors
    /// When the cluster is not ours and nobody said where its audit log is.
    pub fn audit_log(&self) -> Result<PathBuf> {
        self.of_our_cluster(
            &self.audit_log,
            "E2E_AUDIT_LOG",
            self.cache().join("cluster/run/audit.log"),
        )
    }

    /// Command that runs its arguments as root on the node.
    ///
    /// # Errors
    /// When the cluster is not ours and nobody said how to reach its node.
    pub fn run_on_node(&self) -> Result<PathBuf> {
        self.of_our_cluster(
            &self.run_on_node,
            "E2E_RUN_ON_NODE",
            self.repository().join("tests/cluster/run-on-node"),
        )
    }

    /// CIDRs for the chart's `networkPolicy.dnsCIDRs`; none where DNS servers are ordinary pods.
    pub fn dns_cidrs(&self) -> Vec<String> {
        match &self.dns_cidrs {
            Some(cidrs) => cidrs.clone(),
            // The DNS server of `tests/cluster` is a process of its node.
            None if self.kubeconfig.is_none() && !self.is_kind() => vec!["10.89.1.2/32".to_owned()],
            None => Vec::new(),
        }
    }

    /// A tool that `tests/cluster` builds, or the one in `PATH`.
    pub fn tool(&self, name: &str) -> PathBuf {
        let built = self.cache().join("bin").join(name);
        if built.exists() { built } else { PathBuf::from(name) }
    }

    /// A release binary of this workspace.
    ///
    /// # Errors
    /// When it was not built.
    pub fn binary(&self, name: &str) -> Result<PathBuf> {
        let target = self.target_dir.clone().unwrap_or_else(|| self.cache().join("target"));
        let release = format!("{}-unknown-linux-gnu/release", env::consts::ARCH);
        let path = self.bin_dir.clone().unwrap_or_else(|| target.join(release)).join(name);
        anyhow::ensure!(
            path.exists(),
            "{} does not exist; run tests/e2e/run, or cargo build --release",
            path.display()
        );
        Ok(path)
    }

    /// RockBot's own cache directory.
    pub fn cache(&self) -> PathBuf {
        let home = || env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(".cache");
        self.cache_home.clone().unwrap_or_else(home).join("rockbot")
    }

    fn is_kind(&self) -> bool {
        self.cluster.as_deref() == Some("kind")
    }

    fn of_our_cluster(&self, given: &Option<PathBuf>, variable: &str, ours: PathBuf) -> Result<PathBuf> {
        match (given, &self.kubeconfig) {
            (Some(path), _) => Ok(path.clone()),
            (None, None) => Ok(ours),
            (None, Some(_)) => anyhow::bail!("E2E_KUBECONFIG is set: set {variable} too, this test needs it"),
        }
    }
}
