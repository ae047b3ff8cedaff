//! `make bench`: what RockBot costs, each figure beside a baseline that was taken in the same run on the same machine.
//!
//! Runs on the node of the test cluster, from where pods and Services are reached directly: a port-forward would be
//! most of what it measures.

mod agent;
mod memory;
mod pods;
mod report;
mod scripts;
mod stats;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use rockbot_e2e::{
    Cluster,
    cluster::AGENT,
    fixtures::{model_url, scripted_agent, start_model},
    in_namespace, release,
};

use report::Report;

/// How thorough a run is.
#[derive(Clone, Copy, Debug, Parser)]
struct Effort {
    /// Warm scripts, one a second.
    #[arg(long, default_value_t = 60)]
    warm: usize,
    /// Cold scripts, and bare pods beside them.
    #[arg(long, default_value_t = 10)]
    cold: usize,
    /// Streamed answers through the agent, and of the model itself beside them.
    #[arg(long, default_value_t = 300)]
    answers: usize,
    /// Seconds of the sustained load, after half as many that are not counted.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Measures RockBot on the cluster that it is installed on.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    effort: Effort,
    /// Directory that the JSON report is written to.
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { effort, out } = Args::parse();
    let cluster = Cluster::connect().await?;
    let now = chrono::Utc::now();
    let mut report = Report {
        date: now.format("%Y-%m-%d %H:%M UTC").to_string(),
        machine: machine(),
        ..Report::default()
    };

    in_namespace("bench", async |ns| {
        start_model(ns).await?;
        ns.apply(&scripted_agent("bench", &model_url(ns, "echo"))).await?;
        ns.ready(AGENT, "bench").await?;
        memory::measure(ns, &mut report).await?;
        agent::measure(ns, effort.answers, &mut report).await?;
        scripts::measure_warm(ns, effort.warm, &mut report).await?;
        let shape = pods::like_a_script(ns).await?;
        scripts::measure_sustained(ns, &shape, effort.seconds, &mut report).await?;
        release::deploy(&cluster, "upgrade", &["--set", "scriptsManager.poolSize=0"]).await?;
        let cold = scripts::measure_cold(ns, &shape, effort.cold, &mut report).await;
        release::deploy(&cluster, "upgrade", &[]).await?;
        cold
    })
    .await?;

    println!("{}", report.table());
    let path = out.join(format!("{}.json", now.format("%Y-%m-%dT%H%M%SZ")));
    report.write(&path)?;
    println!("{}", path.display());
    Ok(())
}

/// What a reader has to know of the machine.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown CPU");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({model}), Linux {}, load {load} before the start; cluster, model, agent and load generator share them",
        kernel.trim()
    )
}
