//! Runs `helm`. Nothing here needs a cluster.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{manifest::Manifest, repository};

/// Release name of every rendering: the one that the documentation installs with.
pub const RELEASE: &str = "rockbot";
/// Namespace of every rendering, as in the documentation.
pub const NAMESPACE: &str = "rockbot-system";

/// A chart: a folder, or the archive of a packaged one.
pub struct Chart(PathBuf);

impl Chart {
    /// The chart in `helm/<name>`.
    pub fn folder(name: &str) -> Self {
        Self(repository("helm").join(name))
    }

    /// A copy of this folder's regular files in the directory `to`: what is left where links are dropped.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn copy(&self, to: &Path) -> Result<Self> {
        copy_files(&self.0, to)?;
        Ok(Self(to.to_owned()))
    }

    /// Its objects with `values` (an object, or nothing) on a cluster that serves `apis` beside those of Kubernetes.
    ///
    /// # Errors
    /// When helm refuses the chart or the values; the message is helm's.
    pub fn render(&self, values: &Value, apis: &[&str]) -> Result<Vec<Manifest>> {
        let mut helm = helm();
        helm.args(["template", RELEASE, "--namespace", NAMESPACE]).arg(&self.0);
        for api in apis {
            helm.args(["--api-versions", api]);
        }
        Manifest::parse_all(&with_values(helm, values)?)
    }

    /// `helm lint --strict` with `values`.
    ///
    /// # Errors
    /// When helm finds anything, with what it found.
    pub fn lint(&self, values: &Value) -> Result<()> {
        let mut helm = helm();
        helm.args(["lint", "--strict"]).arg(&self.0);
        with_values(helm, values).map(drop)
    }

    /// `helm package` into the directory `to`.
    ///
    /// # Errors
    /// When helm cannot package it.
    pub fn package(&self, to: &Path) -> Result<Self> {
        let mut helm = helm();
        helm.arg("package").arg(&self.0).arg("--destination").arg(to);
        let printed = run(helm)?;
        let (_, archive) = printed
            .rsplit_once("saved it to: ")
            .with_context(|| format!("no archive: {printed}"))?;
        Ok(Self(PathBuf::from(archive.trim())))
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_files(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// `HELM`, or the one that `tests/cluster` builds, or the one in `PATH`.
fn helm() -> Command {
    let home = || env::home_dir().unwrap_or_default().join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let built = cache.join("rockbot/bin/helm");
    let usual = || if built.exists() { built } else { PathBuf::from("helm") };
    Command::new(env::var_os("HELM").map_or_else(usual, PathBuf::from))
}

fn with_values(mut helm: Command, values: &Value) -> Result<String> {
    let mut file = NamedTempFile::new()?;
    // JSON is YAML.
    write!(file, "{values}")?;
    helm.arg("--values").arg(file.path());
    run(helm)
}

fn run(mut helm: Command) -> Result<String> {
    let Output { status, stdout, stderr } = helm
        .output()
        .with_context(|| format!("cannot run {helm:?}; tests/cluster/build builds helm"))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{helm:?} failed:\n{stdout}{stderr}");
    Ok(stdout.into_owned())
}
