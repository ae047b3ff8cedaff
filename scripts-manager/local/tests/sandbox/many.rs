//! Many scripts at once: none is lost, none is mixed up with another, and nothing of them is left.

use std::collections::BTreeSet;

use rockbot_scripts_api::{ScriptResult, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use uuid::Uuid;

use crate::{eventually, eventually_gone, eventually_none_with, processes_in, request};

const RUNS: usize = 300;

/// Asks again while it is told that too many scripts wait.
async fn run_when_possible(runner: &LocalRunner, script: &str) -> ScriptResult {
    loop {
        match runner.run(request(script)).await {
            Err(error) if error.retryable => {}
            result => return result.unwrap(),
        }
    }
}

#[tokio::test]
async fn t18_nothing_is_lost_or_mixed_up_or_left() {
    let runner = LocalRunner::new(4).unwrap();
    let marker = format!("86400.{}", Uuid::new_v4().as_u128() % 1_000_000_007);
    let runs: Vec<_> = (0..RUNS)
        .map(|_| {
            let (runner, nonce) = (runner.clone(), Uuid::new_v4().to_string());
            // One in ten leaves a process behind that holds its stdout.
            let script = format!(
                "import os, subprocess, sys\nprint(os.getcwd(), '{nonce}')\nprint('{nonce}', file=sys.stderr)\n\
                 open(os.environ['ROCKBOT_OUTPUT_DIR'] + '/nonce', 'w').write('{nonce}')\n\
                 if '{nonce}'[0] in '01': subprocess.Popen(['sleep', '{marker}'])"
            );
            tokio::spawn(async move { (nonce, run_when_possible(&runner, &script).await) })
        })
        .collect();
    let (mut ids, mut directories) = (BTreeSet::new(), BTreeSet::new());
    for run in runs {
        let (nonce, result) = run.await.unwrap();
        let (directory, printed) = result.stdout.trim_end().split_once(' ').unwrap();
        assert_eq!((printed, result.stderr.trim_end()), (&*nonce, &*nonce));
        assert_eq!(result.files.len(), 1);
        directories.insert(directory.to_owned());
        ids.insert(result.script_id);
    }
    assert_eq!((ids.len(), directories.len()), (RUNS, RUNS), "a sandbox was used twice");
    eventually_none_with(&marker).await;
    for directory in &directories {
        let directory = directory.trim_end_matches("/home");
        eventually_gone(directory).await;
        eventually("a process is left", || processes_in(directory) == 0).await;
    }
}
