//! One structured line for each script that got a sandbox: who, what hash, how it ended. Never the script or its output.
//! No level of the log leaves it out.

use std::time::Duration;

use rockbot_identity::Caller;
use rockbot_sandbox::{Ending, Exit};
use rockbot_scripts_api::ScriptError;
use rockbot_telemetry::{AUDIT, KeyValue, semconv};
use sha2::{Digest, Sha256};

use crate::{
    metrics::{Metrics, Outcome},
    pool::Job,
};

/// What is kept of a run.
pub(crate) struct Record {
    caller: Caller,
    packages: String,
    idempotent: bool,
    bytes_in: usize,
    bytes_out: usize,
    pod: String,
    end: Result<Exit, String>,
    outcome: Outcome,
    queued: Duration,
    took: Duration,
    trace_id: Option<String>,
}

impl Record {
    pub(crate) fn new(
        job: &Job,
        pod: &str,
        ending: &Result<Ending, ScriptError>,
        queued: Duration,
        took: Duration,
    ) -> Self {
        let end = ending
            .as_ref()
            .map(|ending| ending.exit.clone())
            .map_err(|error| error.message.clone());
        let outcome = match &end {
            _ if job.reply.is_closed() => Outcome::Cancelled,
            Ok(exit) if exit.timed_out => Outcome::TimedOut,
            Ok(exit) if exit.code == Some(0) => Outcome::Succeeded,
            Ok(_) => Outcome::Failed,
            Err(_) => Outcome::Lost,
        };
        let run = &job.work.run;
        Self {
            caller: job.caller.clone(),
            packages: job.work.packages.join(","),
            idempotent: job.work.idempotent,
            bytes_in: run.script.len() + run.input.as_ref().map_or(0, String::len),
            bytes_out: ending.as_ref().map_or(0, bytes_out),
            pod: pod.to_owned(),
            end,
            outcome,
            queued,
            took,
            trace_id: job.work.trace.trace_id(),
        }
    }

    /// What the trace of its request tells of it.
    pub(crate) fn attributes(&self) -> Vec<KeyValue> {
        let exit = self.end.as_ref().ok();
        let mut attributes = vec![
            KeyValue::new(semconv::ROCKBOT_SCRIPT_AGENT, self.caller.to_string()),
            KeyValue::new(semconv::ROCKBOT_SCRIPT_POD, self.pod.clone()),
            KeyValue::new(semconv::ROCKBOT_SCRIPT_OUTCOME, self.outcome.as_str()),
            KeyValue::new(semconv::ROCKBOT_SCRIPT_QUEUE_MS, milliseconds(self.queued)),
            KeyValue::new(semconv::ROCKBOT_SCRIPT_RUN_MS, milliseconds(self.took)),
        ];
        let code = exit.and_then(|exit| exit.code);
        attributes.extend(code.map(|code| KeyValue::new(semconv::ROCKBOT_SCRIPT_EXIT_CODE, i64::from(code))));
        attributes
    }

    /// Logs and counts it.
    pub(crate) fn write(&self, script: &str, metrics: &Metrics) {
        metrics.ran(self.outcome, self.queued, self.took);
        let exit = self.end.as_ref().ok();
        tracing::info!(
            target: AUDIT,
            agent = self.caller.agent,
            namespace = self.caller.namespace,
            script_sha256 = format!("{:x}", Sha256::digest(script)),
            packages = self.packages,
            outcome = self.outcome.as_str(),
            exit_code = exit.and_then(|exit| exit.code),
            signal = exit.and_then(|exit| exit.signal),
            oom_killed = exit.map(|exit| exit.oom_killed),
            duration_ms = exit.map(|exit| exit.duration_ms),
            cpu_ms = exit.map(|exit| exit.cpu_ms),
            max_rss_kb = exit.map(|exit| exit.max_rss_kb),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            queue_ms = milliseconds(self.queued),
            total_ms = milliseconds(self.queued + self.took),
            pod = self.pod,
            trace_id = self.trace_id,
            idempotent = self.idempotent,
            error = self.end.as_ref().err(),
            "script"
        );
    }
}

fn bytes_out(ending: &Ending) -> usize {
    let files: usize = ending.files.iter().map(|file| file.data.len()).sum();
    ending.stdout.len() + ending.stderr.len() + files
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
