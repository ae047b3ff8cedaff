//! What others add to the same model on the same machine, installed as their users install them: LiteLLM's proxy, and an
//! agent of Haystack served by Hayhooks.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use rockbot_e2e::sdk;
use serde_json::json;
use tokio::process::Command;

use super::{
    Effort, PAIR, Pairs, Site,
    client::Target,
    highest_rate, paced,
    process::{Process, free_port},
    speaks, target, write,
};
use crate::{
    progress::Progress,
    report::{Memory, Report},
    stats::Samples,
};

/// Longest start: much Python is read.
const START: Duration = Duration::from_secs(120);

/// Measures one after the other, each with the agent at the rate that it can take.
pub(crate) async fn measure(site: &Site, rate: u32, effort: &Effort, report: &mut Report) -> Result<()> {
    let (agent, _) = site.agent("echo", json!({})).await?;
    let litellm = litellm(site).await?;
    compare(site, &agent, litellm, "LiteLLM's proxy", rate, effort, report).await?;
    let hayhooks = hayhooks(site).await?;
    compare(site, &agent, hayhooks, "Haystack's agent", rate, effort, report).await
}

async fn compare(
    site: &Site,
    agent: &Process,
    (rival, ready): (Process, Duration),
    name: &'static str,
    rate: u32,
    effort: &Effort,
    report: &mut Report,
) -> Result<()> {
    let mut start = Samples::default();
    start.push(ready);
    report.duration(
        &format!("{name}, from the start of its process until it is ready"),
        start.summary(),
    );
    report.memory.push(Memory {
        what: format!("{name}, idle"),
        mib: rival.resident()?,
    });
    let via = Target::new(name, rival.address, "/v1/chat/completions", "bench");
    speaks(&via).await.with_context(|| name)?;
    let rate = highest_rate(&via, 10.min(rate), rate, report).await?;
    let progress = Progress::new("pairs of loads beside a rival", effort.pairs);
    let (direct, ours) = (site.direct("echo"), target(agent));
    let (mut theirs, mut own) = (Pairs::default(), Pairs::default());
    for _ in 0..effort.pairs {
        let before = paced::window(&direct, rate, PAIR).await?;
        theirs.add(before, paced::window(&via, rate, PAIR).await?);
        let before = paced::window(&direct, rate, PAIR).await?;
        own.add(before, paced::window(&ours, rate, PAIR).await?);
        progress.step();
    }
    let load = format!("at {rate}/s");
    theirs.report(&load, name, report);
    own.report(&load, ours.name, report);
    report.memory.push(Memory {
        what: format!("{name}, after that load"),
        mib: rival.resident()?,
    });
    rival.stop().await
}

async fn litellm(site: &Site) -> Result<(Process, Duration)> {
    let environment = environment(site, "litellm.txt").await?;
    let address = free_port()?;
    let parameters = json!({
        "model": "openai/scripted", "api_base": site.model_url("echo"), "api_key": "sk-scripted",
    });
    // JSON is YAML.
    let config = json!({ "model_list": [{ "model_name": "bench", "litellm_params": parameters }] });
    let config = write(site, "litellm/config.yaml", &config.to_string())?;
    let mut command = Command::new(environment.join("bin/litellm"));
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--config"]);
    // Prices of models come with the package; otherwise it would look for newer ones.
    command.arg(config).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    // Who calls is checked by nobody, as at the agent: on this machine only.
    command.env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true");
    command.env("NO_PROXY", "127.0.0.1").stderr(std::process::Stdio::null());
    Process::start(command, address, "/health/liveliness", START).await
}

async fn hayhooks(site: &Site) -> Result<(Process, Duration)> {
    let environment = environment(site, "hayhooks.txt").await?;
    let address = free_port()?;
    let wrapper = std::fs::read_to_string(folder().join("agent.py"))?;
    let wrapper = write(site, "hayhooks/bench/pipeline_wrapper.py", &wrapper)?;
    let pipelines = wrapper.ancestors().nth(2).context("no folder of pipelines")?;
    let mut command = Command::new(environment.join("bin/hayhooks"));
    command.args([
        "run",
        "--host",
        "127.0.0.1",
        "--port",
        &address.port().to_string(),
        "--pipelines-dir",
    ]);
    command.arg(pipelines).env("MODEL_URL", site.model_url("echo"));
    command
        .env("HAYSTACK_TELEMETRY_ENABLED", "False")
        .env("NO_PROXY", "127.0.0.1");
    command.stderr(std::process::Stdio::null());
    Process::start(command, address, "/v1/models", START).await
}

async fn environment(site: &Site, requirements: &str) -> Result<std::path::PathBuf> {
    eprintln!("installing {requirements} unless the cache has it");
    sdk::python_packages(&site.settings, &folder().join(requirements), &[]).await
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals")
}
