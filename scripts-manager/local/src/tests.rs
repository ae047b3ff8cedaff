//! The pool, and how often it starts Python.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Duration,
};

use rockbot_scripts_api::{ScriptErrorCode, ScriptRequest, ScriptRunner};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{LocalRunner, python::Python};

/// A `python3` that tells how often it was started.
struct Counted {
    program: PathBuf,
    _directory: TempDir,
}

/// Asked where it is, it says: here. Then it is started again.
const ITSELF: &str = "[ $# = 4 ] && exec echo \"$0\"";
const COUNT: &str = "echo >> \"${0%/*}/starts\"";
const PYTHON: &str = "exec python3 \"$@\"";

impl Counted {
    fn new(lines: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("python3");
        let source = format!("#!/bin/sh\n{}\n", lines.join("\n"));
        fs::write(&program, source).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        Self {
            program,
            _directory: directory,
        }
    }

    fn runner(&self, pool_size: usize) -> LocalRunner {
        LocalRunner::with_python(Python::at(self.program.clone()), pool_size)
    }

    fn starts(&self) -> usize {
        fs::read(self.program.with_file_name("starts"))
            .unwrap_or_default()
            .len()
    }
}

fn script() -> ScriptRequest {
    ScriptRequest {
        script: "print(6 * 7)".to_owned(),
        timeout_seconds: 20,
        ..ScriptRequest::default()
    }
}

async fn until_parked(runner: &LocalRunner, count: usize) {
    let full = async {
        while runner.parked() < count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), full).await.unwrap();
}

#[tokio::test]
async fn t18_each_script_costs_one_start() {
    let python = Counted::new(&[ITSELF, COUNT, PYTHON]);
    let runner = python.runner(2);
    for _ in 0..3 {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                let runner = runner.clone();
                tokio::spawn(async move { runner.run(script()).await })
            })
            .collect();
        for run in runs {
            assert_eq!(run.await.unwrap().unwrap().stdout, "42\n");
        }
    }
    until_parked(&runner, 2).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!((python.starts(), runner.parked()), (12 + 2, 2));
}

#[tokio::test]
async fn a_sandbox_that_nobody_waits_for_any_more_is_parked_or_ended() {
    let python = Counted::new(&[ITSELF, COUNT, PYTHON]);
    let runner = python.runner(1);
    let dropped = timeout(Duration::from_millis(1), runner.run(script())).await;
    assert!(dropped.is_err(), "it has run already");
    until_parked(&runner, 1).await;
    assert_eq!(runner.run(script()).await.unwrap().stdout, "42\n");
    until_parked(&runner, 1).await;
    // One for each script that ran, one for the one that did not, and one that is parked.
    assert!(python.starts() <= 3, "{} starts", python.starts());
}

#[tokio::test]
async fn whoever_waits_is_told_why_no_sandbox_starts() {
    let python = Counted::new(&["echo broken >&2; exit 1"]);
    let runner = python.runner(1);
    for _ in 0..2 {
        let (one, two) = tokio::join!(runner.run(script()), runner.run(script()));
        for error in [one.unwrap_err(), two.unwrap_err()] {
            assert_eq!(error.code, ScriptErrorCode::SandboxUnavailable);
            assert!(error.message.ends_with("broken"), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn a_launcher_is_asked_for_the_interpreter_once() {
    let launcher = Counted::new(&[COUNT, PYTHON]);
    let python = Python::at(launcher.program.clone());
    let interpreter = python.path().await.to_owned();
    assert!(
        interpreter != launcher.program && interpreter.is_file(),
        "{interpreter:?}"
    );
    assert_eq!(python.path().await, interpreter);
    assert_eq!(launcher.starts(), 1);
    assert_eq!(Python::at(interpreter.clone()).path().await, interpreter);
}
