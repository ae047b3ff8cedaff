//! The baseline of scripts: `python3 -c pass` on the node.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rockbot_e2e::process;

/// The distribution's interpreter, as the image of scripts has it. Others that PATH may name first are launchers, or builds
/// that start more slowly: against those any sandbox looks fast.
#[derive(Debug)]
pub(crate) struct Python {
    program: PathBuf,
    version: String,
}

impl Python {
    /// Finds it.
    pub(crate) async fn find() -> Result<Self> {
        let distribution = PathBuf::from("/usr/bin/python3");
        let program = if distribution.exists() {
            distribution
        } else {
            PathBuf::from("python3")
        };
        let mut command = process::command(&program);
        command.args(["-c", "import platform; print(platform.python_version())"]);
        let version = process::check(command, "", Duration::from_secs(20)).await?;
        Ok(Self {
            program,
            version: version.trim().to_owned(),
        })
    }

    /// What a row of the report is called.
    pub(crate) fn label(&self) -> String {
        format!("{} {} -c pass on the node", self.program.display(), self.version)
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts it, and returns how long it took to its end.
    pub(crate) async fn start(&self) -> Result<Duration> {
        let mut command = process::command(&self.program);
        command.args(["-c", "pass"]).stdin(Stdio::null()).stdout(Stdio::null());
        let begin = Instant::now();
        ensure!(command.status().await?.success(), "python3 -c pass failed");
        Ok(begin.elapsed())
    }
}
