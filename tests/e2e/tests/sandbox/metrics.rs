//! T18: what a scripts manager counts, and that the documentation has all of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use rockbot_e2e::manager::on_stage;

const DOCS: &str = include_str!("../../../../docs/operations.md");

/// After one script that succeeded and one that failed, with two pods parked before and afterwards.
const EXPECTED: [(&str, f64); 19] = [
    (r#"rockbot_scripts_runs_total{outcome="succeeded"}"#, 1.0),
    (r#"rockbot_scripts_runs_total{outcome="failed"}"#, 1.0),
    ("rockbot_scripts_queue_seconds_count", 2.0),
    ("rockbot_scripts_run_seconds_count", 2.0),
    (r#"rockbot_scripts_sandboxes{state="parked"}"#, 2.0),
    (r#"rockbot_scripts_sandboxes{state="starting"}"#, 0.0),
    (r#"rockbot_scripts_sandboxes{state="running"}"#, 0.0),
    (r#"rockbot_scripts_sandboxes{state="waiting"}"#, 0.0),
    (r#"rockbot_scripts_pool_target{pool="plain"}"#, 2.0),
    (r#"rockbot_scripts_pool_target{pool="packages"}"#, 0.0),
    ("rockbot_scripts_cold_starts_total", 0.0),
    ("rockbot_scripts_sandbox_start_seconds_count", 4.0),
    ("rockbot_scripts_sandbox_start_failures_total", 0.0),
    // Started outside the cluster, this manager has no canary.
    (r#"rockbot_scripts_canaries_total{result="unknown"}"#, 4.0),
    (r#"rockbot_scripts_canaries_total{result="reached"}"#, 0.0),
    ("rockbot_scripts_idempotent_replays_total", 0.0),
    ("rockbot_scripts_install_seconds_count", 0.0),
    ("rockbot_scripts_pods_swept_total", 0.0),
    ("rockbot_scripts_seccomp_filter", 1.0),
];
/// There is nothing to say of these before a package was installed, and while no wall is missing.
const ABSENT: [&str; 2] = ["rockbot_scripts_installs_total", "rockbot_scripts_missing_walls"];
/// What takes time took some, and less than the whole test may take.
const DURATIONS: [&str; 4] = [
    "rockbot_scripts_queue_seconds_sum",
    "rockbot_scripts_run_seconds_sum",
    "rockbot_scripts_sandbox_start_seconds_sum",
    "rockbot_scripts_refill_seconds",
];

#[tokio::test]
async fn t18_everything_is_counted_and_documented() -> Result<()> {
    on_stage("metrics", async |stage| {
        let manager = stage.manager(&["--pool-min=2", "--pool-max=2"]).await?;
        manager.parked(stage, 2).await?;
        manager.prints("print(1)", "1\n").await?;
        let (_, failed) = manager.run("raise SystemExit(3)", 20).await?;
        ensure!(failed["exit_code"] == 3, "{failed}");
        // What is counted last, and what it leads to.
        manager
            .counts(r#"rockbot_scripts_runs_total{outcome="failed"}"#, 1.0)
            .await?;
        manager.parked(stage, 2).await?;

        let text = manager.metrics().await?;
        let series: BTreeMap<_, _> = text.lines().filter_map(|line| line.rsplit_once(' ')).collect();
        let value = |name: &str| -> Result<f64> {
            let value = series.get(name).with_context(|| format!("no {name} in\n{text}"))?;
            value.parse().with_context(|| format!("{name} is {value}"))
        };
        for (name, expected) in EXPECTED {
            let value = value(name)?;
            ensure!(value == expected, "{name} is {value} instead of {expected}");
        }
        for name in DURATIONS {
            let seconds = value(name)?;
            ensure!(seconds > 0.0 && seconds < 300.0, "{name} is {seconds}");
        }
        let mut families: BTreeSet<_> = text.lines().filter_map(family).collect();
        for name in ABSENT {
            ensure!(families.insert(name.to_owned()), "{name} is there");
        }
        let documented = documented();
        ensure!(
            families == documented,
            "here or in the documentation alone: {:?}",
            families.symmetric_difference(&documented)
        );
        Ok(())
    })
    .await
}

/// The series that a line of `/metrics` declares.
fn family(line: &str) -> Option<String> {
    let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
    let total = if kind == "counter" { "_total" } else { "" };
    Some(format!("{name}{total}"))
}

/// The scripts manager's series in the table of docs/operations.md.
fn documented() -> BTreeSet<String> {
    let rows = DOCS.lines().filter(|line| line.contains(" | scripts manager | "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names = quoted.map(|name| name.split('{').next().unwrap_or(name).to_owned());
    names.filter(|name| name.starts_with("rockbot_scripts_")).collect()
}
