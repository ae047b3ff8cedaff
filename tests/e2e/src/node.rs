//! The cluster's node from inside: its audit log and its processes.

use std::{
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::Value;

use crate::{process, settings::Settings};

/// Runs `args` as root on the node and returns what it printed.
///
/// # Errors
/// When it fails, and when the cluster is not ours and nobody said how to reach its node.
pub async fn run_on_node(settings: &Settings, args: &[&str]) -> Result<String> {
    let mut command = process::command(&settings.run_on_node()?);
    command.args(args);
    process::check(command, "", Duration::from_secs(60)).await
}

/// Identity of a pod's first container, as the cgroups of its processes on the node name it.
///
/// # Errors
/// When no container of the pod was started.
pub fn container_id(pod: &Pod) -> Result<&str> {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    let id = statuses
        .and_then(|all| all.first())
        .and_then(|status| status.container_id.as_deref());
    id.and_then(|id| id.split("//").nth(1))
        .with_context(|| format!("{} does not run", pod.name_any()))
}

/// The API server's audit log from a moment on.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    from: u64,
}

impl AuditLog {
    /// Starts listening now.
    ///
    /// # Errors
    /// When there is no audit log.
    pub fn from_now(settings: &Settings) -> Result<Self> {
        let path = settings.audit_log()?;
        let from = std::fs::metadata(&path)
            .with_context(|| format!("no audit log at {}", path.display()))?
            .len();
        Ok(Self { path, from })
    }

    /// Every request since then that changed something, or tried to, by a user whose name `who` accepts: one line each.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn writes(&self, who: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut file = std::fs::File::open(&self.path)?;
        // A log that was rotated meanwhile starts anew; reading all of it can only count too much.
        let from = if file.metadata()?.len() < self.from {
            0
        } else {
            self.from
        };
        file.seek(SeekFrom::Start(from))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events
            .filter(is_write)
            .filter(|event| who(name_of(event)))
            .map(|event| describe(&event))
            .collect())
    }
}

fn is_write(event: &Value) -> bool {
    let write = matches!(
        event["verb"].as_str(),
        Some("create" | "update" | "patch" | "delete" | "deletecollection")
    );
    // Reviews are questions in the form of a create; a Lease is renewed as long as its holder lives.
    let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
    write
        && event["stage"] == "ResponseComplete"
        && !matches!(resource, "tokenreviews" | "subjectaccessreviews" | "leases")
}

fn name_of(event: &Value) -> &str {
    event["user"]["username"].as_str().unwrap_or_default()
}

fn describe(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {} {}",
        name_of(event),
        text(&event["verb"]),
        text(&event["requestURI"])
    )
}
