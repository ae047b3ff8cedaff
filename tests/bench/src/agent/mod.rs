//! What an agent adds to its model and what it costs: processes of this machine, with no cluster around them.
//!
//! The model, the agent and the load share the machine, so that every figure stands beside the same load on the model alone,
//! taken right before or after it.

mod client;
mod paced;
mod process;
mod rivals;
mod streams;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rockbot_e2e::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    progress::Progress,
    report::{Memory, Rate, Report},
    stats::{Samples, Summary},
};
use client::{Connection, Target};
use paced::{WORDS, Window};
use process::{Process, cpu_of, free_port};

/// Longest start of one of our own servers.
const START: Duration = Duration::from_secs(10);
/// Words of the answers that tell what a chunk costs.
const LONG: usize = 500;
/// By how much the next rate to try is higher.
const FASTER: f64 = 1.5;

/// How thorough the measurement of the agent is.
#[derive(Clone, Copy, Debug, Parser)]
pub(crate) struct Effort {
    /// Requests a second to the agent, or as many as this machine can take.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rate: u32,
    /// Pairs of loads, on the model and on the agent, of two seconds each.
    #[arg(long, default_value_t = 8)]
    pub(crate) pairs: usize,
    /// Pairs of long answers, for the cost of a chunk.
    #[arg(long, default_value_t = 100)]
    pub(crate) answers: usize,
    /// Starts of the agent.
    #[arg(long, default_value_t = 20)]
    pub(crate) starts: usize,
    /// Slow streams at the same time.
    #[arg(long, default_value_t = 1000)]
    pub(crate) streams: usize,
    /// Requests over which the agent's memory must not grow; 100000 take some minutes.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) requests: usize,
    /// Also measure LiteLLM's proxy and a Python agent framework, installed from their registry into the cache; minutes.
    #[arg(long)]
    pub(crate) compare: bool,
}

/// The scripted model, and what agents need to use it.
pub(crate) struct Site {
    settings: Settings,
    folder: TempDir,
    pub(crate) model: Process,
}

impl Site {
    async fn start() -> Result<Self> {
        let settings = Settings::read()?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("key"), "sk-scripted")?;
        let address = free_port()?;
        let mut command = Command::new(settings.binary("rockbot-fake-model")?);
        command.arg("--listen").arg(address.to_string());
        let (model, _) = Process::start(command, address, "/echo/requests", START).await?;
        Ok(Self {
            settings,
            folder,
            model,
        })
    }

    /// Base URL of a scenario of the model.
    pub(crate) fn model_url(&self, scenario: &str) -> String {
        format!("http://{}/{scenario}/v1", self.model.address)
    }

    fn direct(&self, scenario: &str) -> Target {
        let path = format!("/{scenario}/v1/chat/completions");
        Target::new("the model itself", self.model.address, &path, "scripted")
    }

    /// An agent on a scenario of the model, and how long it took to be ready.
    async fn agent(&self, scenario: &str, tools: Value) -> Result<(Process, Duration)> {
        let config = json!({
            "name": "bench",
            "instructions": "You are measured.",
            "model": {
                "provider": "OpenAI",
                "name": "scripted",
                "baseUrl": self.model_url(scenario),
                "apiKeyFile": self.folder.path().join("key"),
            },
            "tools": tools,
            "limits": { "maxConcurrentRequests": 10_000 },
        });
        let file = self.folder.path().join(format!("{scenario}.json"));
        std::fs::write(&file, config.to_string())?;
        let address = free_port()?;
        let mut command = Command::new(self.settings.binary("rockbot-agent")?);
        command.arg("--config").arg(file);
        command.arg("--listen").arg(address.to_string());
        // Nothing of it is asked before a script runs.
        command.args([
            "--scripts-manager-url",
            "http://127.0.0.1:1",
            "--scripts-manager-token-file",
            "/dev/null",
        ]);
        Process::start(command, address, "/ready", START).await
    }
}

fn target(agent: &Process) -> Target {
    Target::new("the agent", agent.address, "/bench/chat/completions", "bench")
}

/// All figures of the agent.
pub(crate) async fn measure(effort: &Effort, report: &mut Report) -> Result<()> {
    let site = Site::start().await?;
    starts(&site, effort.starts, report).await?;
    let (agent, _) = site.agent("echo", json!({})).await?;
    let rate = paced_pairs(&site, &agent, effort, report).await?;
    chunks(&site, &agent, effort.answers, report).await?;
    agent.stop().await?;
    streams::measure_slow(&site, effort.streams, report).await?;
    streams::measure_growth(&site, effort.requests, report).await?;
    if effort.compare {
        rivals::measure(&site, rate, effort, report).await?;
    }
    Ok(())
}

/// How long the agent's process takes to be ready, and its memory while it waits.
async fn starts(site: &Site, n: usize, report: &mut Report) -> Result<()> {
    let progress = Progress::new("starts of the agent", n);
    let mut ready = Samples::default();
    for (what, tools) in [
        ("agent, idle", json!({})),
        (
            "agent that may run scripts, idle",
            json!({ "scripts": { "timeoutSeconds": 30 } }),
        ),
    ] {
        let mut mib = Samples::default();
        for _ in 0..n.div_ceil(2) {
            let (agent, took) = site.agent("echo", tools.clone()).await?;
            ready.push(took);
            tokio::time::sleep(Duration::from_millis(200)).await;
            mib.push_ms(agent.resident()?);
            agent.stop().await?;
            progress.step();
        }
        report.memory.push(Memory {
            what: what.to_owned(),
            mib: mib.summary().p50,
        });
    }
    report.duration(
        "agent, from the start of its process until it is ready",
        ready.summary(),
    );
    Ok(())
}

/// The same open loop on the model and on the agent, in turns. Returns the rate.
async fn paced_pairs(site: &Site, agent: &Process, effort: &Effort, report: &mut Report) -> Result<u32> {
    let (direct, via) = (site.direct("echo"), target(agent));
    let rate = highest_rate(&via, effort.rate / 4, effort.rate, report).await?;
    let progress = Progress::new("pairs of loads", effort.pairs);
    let mut pairs = Pairs::default();
    let [mut agent_cpu, mut model_cpu, mut load_cpu] = std::array::from_fn(|_| Samples::default());
    let own = std::process::id();
    for _ in 0..effort.pairs {
        let before = paced::window(&direct, rate, PAIR).await?;
        let cpu = (agent.cpu()?, site.model.cpu()?, cpu_of(own)?);
        let after = paced::window(&via, rate, PAIR).await?;
        let answered = f64::from(u32::try_from(after.first.len())?.max(1));
        let each = |now: Duration, then: Duration| now.saturating_sub(then).div_f64(answered);
        agent_cpu.push(each(agent.cpu()?, cpu.0));
        model_cpu.push(each(site.model.cpu()?, cpu.1));
        load_cpu.push(each(cpu_of(own)?, cpu.2));
        pairs.add(before, after);
        progress.step();
    }
    pairs.report(&format!("at {rate}/s"), via.name, report);
    report.duration("CPU of the agent, each of these requests", agent_cpu.summary());
    report.duration("  of the scripted model", model_cpu.summary());
    report.duration("  of the load itself", load_cpu.summary());
    Ok(rate)
}

/// How long each load of a pair lasts.
const PAIR: Duration = Duration::from_secs(2);

/// The highest rate from `least` to `most` with which `target` keeps up, and the report of it. From below, because what
/// was once asked too much is busy with that for long.
async fn highest_rate(target: &Target, least: u32, most: u32, report: &mut Report) -> Result<u32> {
    let (mut rate, mut next) = (least, least);
    loop {
        eprintln!("measuring: whether {} can take {next} requests a second", target.name);
        // Whatever else this machine does may disturb it once.
        let keeps_up =
            paced::window(target, next, PAIR).await?.kept_up() || paced::window(target, next, PAIR).await?.kept_up();
        if keeps_up {
            rate = next;
        }
        if !keeps_up || next >= most {
            break;
        }
        next = ((f64::from(next) * FASTER) as u32).clamp(next + 1, most);
    }
    report.rates.push(Rate {
        what: format!("requests that {} takes in an open loop, at most {most}", target.name),
        per_second: rate.into(),
        ratio: None,
    });
    Ok(rate)
}

/// Loads on the model itself, each beside one on somebody in front of it.
#[derive(Debug, Default)]
struct Pairs {
    direct: Samples,
    via: Samples,
    added: [Samples; 3],
    failed: usize,
}

impl Pairs {
    fn add(&mut self, direct: Window, via: Window) {
        let (one, other) = (via.first.summary(), direct.first.summary());
        let differences = [one.p50 - other.p50, one.p90 - other.p90, one.p99 - other.p99];
        for (added, difference) in self.added.iter_mut().zip(differences) {
            added.push_ms(difference);
        }
        self.failed += direct.failed + via.failed;
        self.direct.append(direct.first);
        self.via.append(via.first);
    }

    /// The figures of all loads, and the medians of how the figures of pairs differ.
    fn report(&self, load: &str, name: &str, report: &mut Report) {
        let via = self.via.summary();
        report.duration(
            &format!("model itself, {load}: when due to first token"),
            self.direct.summary(),
        );
        report.duration(&format!("through {name}, {load}: when due to first token"), via);
        let [p50, p90, p99] = self.added.each_ref().map(|added| added.summary().p50);
        let added = Summary {
            n: via.n,
            p50,
            p90,
            p99,
        };
        report.duration(&format!("  {name} adds (medians of the pairs' differences)"), added);
        if self.failed > 0 {
            report.rates.push(Rate {
                what: format!("requests {load} through {name} that failed, in all"),
                per_second: self.failed as f64,
                ratio: None,
            });
        }
    }
}

/// What each further chunk costs: long answers one after the other, from the model and from the agent in turns.
async fn chunks(site: &Site, agent: &Process, n: usize, report: &mut Report) -> Result<()> {
    let progress = Progress::new("pairs of long answers", n);
    let [mut direct, mut added, mut cpu] = std::array::from_fn(|_| Samples::default());
    let (model, via) = (site.direct("echo"), target(agent));
    let (mut one, mut other) = (
        Connection::open(model.address).await?,
        Connection::open(via.address).await?,
    );
    for _ in 0..n {
        let without = one.ask(&model.request(LONG)).await?;
        let before = agent.cpu()?;
        let with = other.ask(&via.request(LONG)).await?;
        cpu.push((agent.cpu()? - before) / with.tokens);
        let each = |answer: &client::Answer| (answer.last - answer.first) / answer.tokens.saturating_sub(1).max(1);
        direct.push(each(&without));
        added.push_difference(each(&with), each(&without));
        progress.step();
    }
    report.duration(
        &format!("model itself: each further chunk of {LONG}, as fast as they go"),
        direct.summary(),
    );
    report.duration("  the agent adds (differences of pairs)", added.summary());
    report.duration(
        "  CPU of the agent, each chunk, its share of the request included",
        cpu.summary(),
    );
    Ok(())
}

/// Whether `address` is that of a server which the model's answers pass through to the letter.
async fn speaks(target: &Target) -> Result<()> {
    let answer = Connection::open(target.address)
        .await?
        .ask(&target.request(WORDS))
        .await?;
    anyhow::ensure!(
        answer.tokens as usize == WORDS,
        "{} words came as {} tokens",
        WORDS,
        answer.tokens
    );
    Ok(())
}

/// A file of the measurement's folder.
fn write(site: &Site, name: &str, text: &str) -> Result<std::path::PathBuf> {
    let path = site.folder.path().join(name);
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    std::fs::write(&path, text)?;
    Ok(path)
}
