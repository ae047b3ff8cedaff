//! Every attack against the local runner, with canaries of this machine that must hear nothing and a file of its user
//! that must stay as it is.
//!
//! `cargo test -p rockbot-attacks --test local NAME` runs the attacks whose name holds NAME.

mod stage;

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use rockbot_attacks::{Attack, Place};
use stage::Stage;
use tempfile::TempDir;

/// Where the tests find a directory of their own.
const DIRECTORY: &str = "ROCKBOT_ATTACKS_DIRECTORY";

fn main() -> ExitCode {
    let outcome = match env::var_os(DIRECTORY) {
        Some(directory) => attack(Path::new(&directory)),
        None => attack_in_own_directory(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs the tests in a second process whose temporary files are in a directory of their own: what is left there
/// afterwards was left by a script.
fn attack_in_own_directory() -> Result<ExitCode> {
    let directory = TempDir::with_prefix("rockbot-attacks-")?;
    let scripts = directory.path().join("scripts");
    fs::create_dir(&scripts)?;
    let status = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env("TMPDIR", &scripts)
        .env(DIRECTORY, directory.path())
        .status()?;
    eventually_nothing_left(&scripts)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn attack(directory: &Path) -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let stage = Arc::new(Stage::set_up(directory)?);
    let trials = Attack::all(Place::Local)?.into_iter().map(|attack| {
        let stage = Arc::clone(&stage);
        Trial::test(attack.name.clone(), move || {
            stage.run(&attack).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    Ok(conclusion.exit_code())
}

/// No file of a script is left, and no process in its directory.
fn eventually_nothing_left(scripts: &Path) -> Result<()> {
    let begin = Instant::now();
    loop {
        let files = fs::read_dir(scripts)?.count();
        let processes = fs::read_dir("/proc")?
            .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok())
            .filter(|directory| directory.starts_with(scripts))
            .count();
        if (files, processes) == (0, 0) {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(10) {
            bail!("scripts left {files} directories and {processes} processes behind");
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}
