//! The sandbox of one machine, measured by `rockbot script bench` on the node.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rockbot_e2e::{Namespace, process};
use serde::Deserialize;

use crate::{
    python::Python,
    report::{Report, Tally},
    stats::Summary,
};

/// The parts of its report that go into ours.
#[derive(Debug, Deserialize)]
struct Bench {
    interpreter: PathBuf,
    python: Summary,
    alone: Summary,
    together: Option<Summary>,
    runs: usize,
    errors: usize,
    left_behind: Vec<String>,
}

/// Runs `n` scripts with the interpreter that all scripts are compared with.
pub(crate) async fn measure(ns: &Namespace, python: &Python, n: usize, report: &mut Report) -> Result<()> {
    eprintln!("measuring: {n} scripts of the local sandbox");
    let mut command = process::command(&ns.cluster.settings.binary("rockbot")?);
    command.args(["script", "bench", "--output", "json", "-n", &n.to_string()]);
    let path = env::var_os("PATH").unwrap_or_default();
    let first = python.program().parent().filter(|directory| directory.is_absolute());
    let first = first.map(Path::to_owned);
    command.env(
        "PATH",
        env::join_paths(first.into_iter().chain(env::split_paths(&path)))?,
    );
    // A second each is a machine that is too busy to be measured.
    let output = process::run(command, "", Duration::from_secs(60 + n as u64)).await?;
    let bench: Bench = serde_json::from_str(&output.stdout)
        .with_context(|| format!("rockbot script bench: {}{}", output.stdout, output.stderr))?;
    ensure!(
        !python.program().is_absolute() || bench.interpreter == python.program(),
        "{} runs the local scripts",
        bench.interpreter.display()
    );
    let baseline = format!("{}, for the local sandbox", python.label());
    report.duration(&baseline, bench.python);
    report.ratio("local script, one at a time", bench.alone, (&baseline, bench.python));
    if let Some(together) = bench.together {
        report.duration("local script, 2 at a time, as fast as they go", together);
    }
    report.tallies.push(Tally {
        what: "local scripts with nonces".to_owned(),
        runs: bench.runs,
        errors: bench.errors,
        overloaded: 0,
        left_behind: bench.left_behind.len(),
    });
    Ok(())
}
