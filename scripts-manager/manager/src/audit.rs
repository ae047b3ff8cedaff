//! One structured line for each script that got a sandbox: who, what hash, how it ended. Never the script or its output.

use std::time::Duration;

use rockbot_identity::Caller;
use rockbot_sandbox::{Ending, Exit};
use rockbot_scripts_api::ScriptError;
use sha2::{Digest, Sha256};

use crate::metrics::{Metrics, Outcome};

/// What is kept of a run.
pub(crate) struct Record {
    caller: Caller,
    pod: String,
    end: Result<Exit, String>,
    outcome: Outcome,
    queued: Duration,
    took: Duration,
}

impl Record {
    pub(crate) fn new(
        caller: &Caller,
        pod: &str,
        ending: &Result<Ending, ScriptError>,
        cancelled: bool,
        queued: Duration,
        took: Duration,
    ) -> Self {
        let end = ending
            .as_ref()
            .map(|ending| ending.exit.clone())
            .map_err(|error| error.message.clone());
        let outcome = match &end {
            _ if cancelled => Outcome::Cancelled,
            Ok(exit) if exit.timed_out => Outcome::TimedOut,
            Ok(exit) if exit.code == Some(0) => Outcome::Succeeded,
            Ok(_) => Outcome::Failed,
            Err(_) => Outcome::Lost,
        };
        Self {
            caller: caller.clone(),
            pod: pod.to_owned(),
            end,
            outcome,
            queued,
            took,
        }
    }

    /// Whether the supervisor said how the script ended.
    pub(crate) fn completed(&self) -> bool {
        self.end.is_ok()
    }

    /// Logs and counts it.
    pub(crate) fn write(&self, script: &str, metrics: &Metrics) {
        metrics.ran(self.outcome, self.queued, self.took);
        let exit = self.end.as_ref().ok();
        tracing::info!(
            agent = self.caller.agent,
            namespace = self.caller.namespace,
            script_sha256 = format!("{:x}", Sha256::digest(script)),
            outcome = self.outcome.as_str(),
            exit_code = exit.and_then(|exit| exit.code),
            signal = exit.and_then(|exit| exit.signal),
            duration_ms = exit.map(|exit| exit.duration_ms),
            cpu_ms = exit.map(|exit| exit.cpu_ms),
            max_rss_kb = exit.map(|exit| exit.max_rss_kb),
            queue_ms = self.queued.as_secs_f64() * 1000.0,
            total_ms = (self.queued + self.took).as_secs_f64() * 1000.0,
            pod = self.pod,
            error = self.end.as_ref().err(),
            "script"
        );
    }
}
