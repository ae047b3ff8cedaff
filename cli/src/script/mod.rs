//! `rockbot script`: one script, many, or none: what the sandbox is worth here.

pub(crate) mod bench;
pub(crate) mod doctor;
mod output;
pub(crate) mod run;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// Exit code when a script could not be run at all; docker and env use it for the same.
const NOT_RUN: u8 = 125;

/// Does `work` unless the program is told to end: then everything of it is dropped, and what it made is removed.
async fn unless_interrupted(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let told_to_end = |kind: SignalKind| u8::try_from(128 + kind.as_raw_value()).unwrap_or(NOT_RUN);
    tokio::select! {
        code = work => code,
        _ = interrupt.recv() => Ok(told_to_end(SignalKind::interrupt()).into()),
        _ = terminate.recv() => Ok(told_to_end(SignalKind::terminate()).into()),
    }
}
