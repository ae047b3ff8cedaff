//! `rockbot script bench`: many scripts in the sandbox of this machine, beside `python3 -c pass` on the same machine.
//!
//! Each script proves that its run was its own: it prints a nonce of its source and one of its input, and finds no trace
//! of another. Sums are medians and tails, never means.

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::{StreamExt, stream};
use rockbot_scripts_api::{DEFAULT_TIMEOUT_SECONDS, ScriptRequest, ScriptResult, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use serde::Serialize;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::unless_interrupted;
use crate::{
    args::{OutputFormat, ScriptBenchArgs},
    leftovers::Leftovers,
};

/// Most runs that are measured one at a time, each with a sandbox parked for it.
const MAX_ALONE: u32 = 200;
/// Sandboxes that are kept parked.
const POOL: usize = 4;
/// Longest wait for the pool to be full again.
const REFILL_DEADLINE: Duration = Duration::from_secs(30);
/// What is left behind has this long to go.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// Errors that are shown; all are counted.
const SHOWN_ERRORS: usize = 5;

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    /// What runs the scripts, and the baseline.
    interpreter: PathBuf,
    /// `python3 -c pass`, between the runs one at a time.
    python: Summary,
    /// Runs one at a time.
    alone: Summary,
    /// `alone` divided by `python`.
    ratio: Ratio,
    /// Runs as fast as they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<Together>,
    runs: u32,
    /// Runs that failed, were lost, or printed what is another's.
    errors: u32,
    first_errors: Vec<String>,
    /// Processes and directories that are still there.
    left_behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Together {
    parallel: u32,
    per_second: f64,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct Ratio {
    p50: f64,
    p99: f64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Summary {
    n: usize,
    p50: f64,
    p90: f64,
    p99: f64,
}

/// Runs, and prints what came of it.
pub(crate) async fn run(args: ScriptBenchArgs) -> anyhow::Result<ExitCode> {
    unless_interrupted(async {
        let report = measure(&args).await?;
        match args.output {
            OutputFormat::Json => println!("{}", serde_json::to_string(&report)?),
            OutputFormat::Text => print!("{}", text(&report)),
        }
        let good = report.errors == 0 && report.left_behind.is_empty();
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

async fn measure(args: &ScriptBenchArgs) -> anyhow::Result<Report> {
    let before = Leftovers::now()?;
    let runner = LocalRunner::new(POOL)?;
    let session = Session::default();
    let alone = args.runs.min(MAX_ALONE);
    let interpreter = runner.interpreter().await.to_owned();
    let (mut python, mut alone_times) = (Vec::new(), Vec::new());
    for _ in 0..alone {
        until_parked(&runner).await?;
        python.push(start_python(&interpreter).await?);
        alone_times.push(session.run_one(&runner).await);
        session.show_progress(args.runs);
    }
    let begin = Instant::now();
    let rest = args.runs - alone;
    let together: Vec<_> = stream::iter(0..rest)
        .map(async |_| {
            let took = session.run_one(&runner).await;
            session.show_progress(args.runs);
            took
        })
        .buffer_unordered(args.parallel as usize)
        .collect()
        .await;
    let per_second = f64::from(rest) / begin.elapsed().as_secs_f64();
    drop(runner);
    let left_behind = before.gone(END_DEADLINE).await?;
    let (python, alone) = (Summary::of(python), Summary::of(alone_times));
    Ok(Report {
        interpreter,
        python,
        alone,
        ratio: Ratio {
            p50: alone.p50 / python.p50,
            p99: alone.p99 / python.p99,
        },
        together: (rest > 0).then(|| Together {
            parallel: args.parallel,
            per_second,
            summary: Summary::of(together),
        }),
        runs: args.runs,
        errors: session.errors.into_inner(),
        first_errors: session
            .first_errors
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
        left_behind,
    })
}

/// Waits until the next script finds a sandbox, and all that made one is over.
async fn until_parked(runner: &LocalRunner) -> anyhow::Result<()> {
    let full = async {
        while runner.parked() < POOL {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(REFILL_DEADLINE, full)
        .await
        .context("no sandbox starts any more")
}

async fn start_python(python: &Path) -> anyhow::Result<Duration> {
    let mut command = Command::new(python);
    command.args(["-c", "pass"]).stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    ensure!(command.status().await?.success(), "python3 -c pass failed");
    Ok(begin.elapsed())
}

/// What all runs have in common.
#[derive(Debug, Default)]
struct Session {
    served: Mutex<HashSet<String>>,
    done: AtomicU32,
    errors: AtomicU32,
    first_errors: Mutex<Vec<String>>,
}

impl Session {
    /// Runs a script, checks that what came back is its own, and returns how long it took.
    async fn run_one(&self, runner: &LocalRunner) -> Duration {
        let (nonce, input) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let request = ScriptRequest {
            script: script(&nonce),
            input_data: Some(input.clone().into()),
            timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
            pip_packages: Vec::new(),
        };
        let begin = Instant::now();
        let result = runner.run(request).await;
        let took = begin.elapsed();
        let error = match result {
            Ok(result) => self.complaint(&result, &format!("{nonce} {input}\n")),
            Err(error) => Some(error.message),
        };
        if let Some(error) = error {
            self.errors.fetch_add(1, Ordering::Relaxed);
            let mut first = self.first_errors.lock().unwrap_or_else(PoisonError::into_inner);
            if first.len() < SHOWN_ERRORS {
                first.push(error);
            }
        }
        took
    }

    fn complaint(&self, result: &ScriptResult, expected: &str) -> Option<String> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if !served.insert(result.script_id.clone()) {
            return Some(format!("the sandbox {} served two scripts", result.script_id));
        }
        let good = result.exit_code == 0 && result.stdout == expected && result.stderr.is_empty();
        (!good).then(|| format!("expected {expected:?}, and got {result:?}"))
    }

    fn show_progress(&self, all: u32) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() && (done.is_multiple_of(10) || done == all) {
            let end = if done == all { "\r\x1b[K" } else { "" };
            let _ = write!(stderr, "\r{done} of {all} scripts{end}");
        }
    }
}

/// Fails when its directory was used before.
fn script(nonce: &str) -> String {
    format!(
        "import os\nassert not os.listdir(), os.listdir()\nopen('trace', 'w').close()\n\
         print('{nonce}', os.environ['ROCKBOT_INPUT'])"
    )
}

impl Summary {
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let percentile = |percent: usize| {
            // Nearest rank: a value that was measured, not one between two.
            let rank = (samples.len() * percent).div_ceil(100).max(1) - 1;
            samples.get(rank).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
        };
        Self {
            n: samples.len(),
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
        }
    }
}

fn text(report: &Report) -> String {
    let row = |what: &str, Summary { n, p50, p90, p99 }: Summary| {
        format!("{what:<44} {n:>7} {p50:>9.2} {p90:>9.2} {p99:>9.2}\n")
    };
    let mut text = format!(
        "{:<44} {:>7} {:>9} {:>9} {:>9}\n",
        "milliseconds", "n", "p50", "p90", "p99"
    );
    text += &row("python3 -c pass", report.python);
    text += &row("script, one at a time", report.alone);
    let Ratio { p50, p99 } = report.ratio;
    text += &format!(
        "{:<44} {:>7} {p50:>9.3} {:>9} {p99:>9.3}\n",
        "  × python3 -c pass", "", ""
    );
    if let Some(together) = &report.together {
        let what = format!("script, {} at a time, as fast as they go", together.parallel);
        text += &row(&what, together.summary);
        text += &format!("{:<44} {:>7.1}\n", "  scripts per second", together.per_second);
    }
    text += &format!("\npython3 is {}\n", report.interpreter.display());
    text += &format!("{} scripts, {} errors\n", report.runs, report.errors);
    for error in &report.first_errors {
        text += &format!("error: {error}\n");
    }
    match report.left_behind.as_slice() {
        [] => text += "no process and no directory is left behind\n",
        left => left.iter().for_each(|what| text += &format!("left behind: {what}\n")),
    }
    text
}
