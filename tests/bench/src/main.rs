//! `make bench`: what RockBot costs, each figure beside a baseline that was taken in the same run on the same machine.
//!
//! Runs on the node of the test cluster, from where pods and Services are reached directly: a port-forward would be
//! most of what it measures. The agent's figures need no cluster: they come from processes of this machine.

mod agent;
mod cold;
mod load;
mod local;
mod manager;
mod memory;
mod pods;
mod progress;
mod python;
mod report;
mod stats;
mod warm;

use std::{path::PathBuf, time::Instant};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use rockbot_e2e::{
    Cluster, Namespace,
    cluster::AGENT,
    fixtures::{model_url, scripted_agent, start_model},
    in_namespace, release,
};

use python::Python;
use report::{Format, Report};

/// Parked pods of the measurements that need many.
const MANY_PODS: usize = 20;

/// How thorough a run is.
#[derive(Clone, Copy, Debug, Parser)]
struct Effort {
    /// Warm scripts one at a time, and half as many by the agent's tool.
    #[arg(long, default_value_t = 60)]
    warm: usize,
    /// Warm scripts right behind each other.
    #[arg(long, default_value_t = 30)]
    row: usize,
    /// Rounds of scripts at the same time, for 1, 2, 4 and 8 of them.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Cold scripts, and bare pods beside them.
    #[arg(long, default_value_t = 10)]
    cold: usize,
    /// Seconds of the sustained load, after half as many that are not counted.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Scripts with nonces that are sent as fast as they go.
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// Scripts of the local sandbox.
    #[arg(long, default_value_t = 300)]
    local_runs: usize,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The agent in front of a model: latency, memory, start.
    Agent,
    /// Scripts, from an agent's call to the sandbox and back.
    Scripts,
}

/// Measures RockBot on the cluster that it is installed on.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    effort: Effort,
    #[command(flatten)]
    agent: agent::Effort,
    /// Measure one part alone; the agent's needs no cluster.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Directory that the JSON report is written to.
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
}

// One thread: more of them would take the two cores that what is measured runs on, and hand each answer from one to another.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let (begin, now) = (Instant::now(), chrono::Utc::now());
    let mut report = Report {
        date: now.format("%Y-%m-%d %H:%M UTC").to_string(),
        machine: machine(),
        ..Report::default()
    };
    ensure!(
        !args.agent.compare || args.only == Some(Part::Agent),
        "--compare installs from a registry, which the cluster's node cannot reach: add --only agent"
    );
    if args.only != Some(Part::Scripts) {
        agent::measure(&args.agent, &mut report).await?;
    }
    if args.only != Some(Part::Agent) {
        measure_scripts(args.effort, &mut report).await?;
    }
    eprintln!("measured for {} minutes", begin.elapsed().as_secs().div_ceil(60));
    println!("{}", report.print(args.output));
    let path = args.out.join(format!("{}.json", now.format("%Y-%m-%dT%H%M%SZ")));
    report.write(&path)?;
    println!("{}", path.display());
    let faults = report.faults();
    ensure!(
        faults.is_empty(),
        "scripts were lost, mixed up or left something behind: {}",
        faults.join("; ")
    );
    Ok(())
}

async fn measure_scripts(effort: Effort, report: &mut Report) -> Result<()> {
    let cluster = Cluster::connect().await?;
    let measured = in_namespace("bench", async |ns| measure(ns, effort, report).await).await;
    release::deploy(&cluster, "upgrade", &[]).await?;
    measured
}

/// Everything, in an order in which nothing disturbs what comes after it.
async fn measure(ns: &Namespace, effort: Effort, report: &mut Report) -> Result<()> {
    let python = Python::find().await?;
    start_model(ns).await?;
    ns.apply(&scripted_agent("bench", &model_url(ns, "echo"))).await?;
    ns.ready(AGENT, "bench").await?;
    memory::measure(ns, report).await?;
    warm::measure_alone(ns, &python, effort.warm, report).await?;
    warm::measure_in_a_row(ns, &python, effort.row, report).await?;
    let shape = pods::like_a_script(ns).await?;
    load::measure_sustained(ns, &shape, effort.seconds, report).await?;
    load::soak(ns, effort.runs, report).await?;

    deploy_with_pool(ns, MANY_PODS).await?;
    memory::measure_parked(ns, MANY_PODS, report).await?;
    load::measure_parallel(ns, effort.rounds, report).await?;

    deploy_with_pool(ns, 0).await?;
    cold::measure(ns, &shape, effort.cold, report).await?;
    local::measure(ns, &python, effort.local_runs, report).await
}

/// Keeps `pods` parked, whatever happens, and lets one agent use them all at once.
async fn deploy_with_pool(ns: &Namespace, pods: usize) -> Result<()> {
    let values = format!(
        "scriptsManager.pool.min={pods},scriptsManager.pool.max={pods},scriptsManager.maxConcurrentPerAgent=16"
    );
    release::deploy(&ns.cluster, "upgrade", &["--set", &values]).await
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
        "{cores} cores ({model}), Linux {}, load {load} before the start; whatever is measured and the load on it share them",
        kernel.trim()
    )
}
