//! The sandbox of one machine, measured by `rockbot script bench` on the node.

use std::time::Duration;

use anyhow::{Context, Result};
use rockbot_e2e::{Namespace, process};
use serde::Deserialize;

use crate::{
    report::{Report, Tally},
    stats::Summary,
};

/// The parts of its report that go into ours.
#[derive(Debug, Deserialize)]
struct Bench {
    python: Summary,
    alone: Summary,
    together: Option<Summary>,
    runs: usize,
    errors: usize,
    left_behind: Vec<String>,
}

/// Runs `n` scripts.
pub(crate) async fn measure(ns: &Namespace, n: usize, report: &mut Report) -> Result<()> {
    eprintln!("measuring: {n} scripts of the local sandbox");
    let mut command = process::command(&ns.cluster.settings.binary("rockbot")?);
    command.args(["script", "bench", "--output", "json", "-n", &n.to_string()]);
    // A second each is a machine that is too busy to be measured.
    let output = process::run(command, "", Duration::from_secs(60 + n as u64)).await?;
    let bench: Bench = serde_json::from_str(&output.stdout)
        .with_context(|| format!("rockbot script bench: {}{}", output.stdout, output.stderr))?;
    let baseline = "python3 -c pass, for the local sandbox";
    report.duration(baseline, bench.python);
    report.ratio("local script, one at a time", bench.alone, (baseline, bench.python));
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
