//! The official SDKs of model providers for Python, in a virtual environment of pinned packages that is kept between runs.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{process, settings::Settings};

const INSTALL_DEADLINE: Duration = Duration::from_secs(300);
const TEST_DEADLINE: Duration = Duration::from_secs(180);

/// Runs `python/sdk_test.py` against a server of agents and returns the host names that its scripts printed, one for
/// each run: the names of their pods on a cluster.
///
/// # Errors
/// When a test of it fails; the message carries what unittest printed.
pub async fn run_sdk_tests(settings: &Settings, base_url: &str, agent: &str) -> Result<Vec<String>> {
    let report = tempfile::NamedTempFile::new()?;
    let mut command = test(settings, "sdk_test.py", base_url).await?;
    command.env("ROCKBOT_AGENT", agent).env("ROCKBOT_REPORT", report.path());
    process::check(command, "", TEST_DEADLINE).await?;
    let names = std::fs::read_to_string(report.path())?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Runs `python/wires_test.py` against a scripted model.
///
/// # Errors
/// When a test of it fails; the message carries what unittest printed.
pub async fn run_wires_tests(settings: &Settings, url: &str) -> Result<()> {
    process::check(test(settings, "wires_test.py", url).await?, "", TEST_DEADLINE).await?;
    Ok(())
}

async fn test(settings: &Settings, file: &str, url: &str) -> Result<Command> {
    let mut command = process::command(&virtual_environment(settings).await?);
    command
        .arg(folder(settings).join(file))
        .env("ROCKBOT_URL", url)
        .env("NO_PROXY", "127.0.0.1");
    Ok(command)
}

/// The interpreter of the virtual environment for the present requirements; made the first time.
async fn virtual_environment(settings: &Settings) -> Result<PathBuf> {
    let requirements = folder(settings).join("requirements.txt");
    let text = std::fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let digest = Sha256::digest(&text);
    let hash: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = settings.cache().join(format!("venv-{hash}"));
    let complete = folder.join("complete");
    let python = folder.join("bin/python");
    if !complete.exists() {
        let mut venv = process::command("python3".as_ref());
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        process::check(venv, "", INSTALL_DEADLINE).await?;
        let mut pip = process::command(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--requirement",
        ]);
        pip.arg(&requirements);
        process::check(pip, "", INSTALL_DEADLINE).await?;
        std::fs::write(&complete, "")?;
    }
    Ok(python)
}

fn folder(settings: &Settings) -> PathBuf {
    settings.repository().join("tests/e2e/python")
}
