//! However a script ends, it ends with all that it started, and its caller is told the truth.

use std::time::{Duration, Instant};

use rockbot_scripts_api::{ScriptErrorCode, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use tokio::{process::Command, sync::mpsc, time::timeout};
use uuid::Uuid;

use crate::{
    PATIENCE, eventually, eventually_gone, eventually_none_with, processes_in, processes_with, request, run, run_within,
};

#[tokio::test]
async fn t16_the_deadline_ends_whatever_the_script_does() {
    let marker = format!("86400.{}", Uuid::new_v4().as_u128() % 1_000_000_007);
    let scripts = [
        "print('begun')\nwhile True: pass".to_owned(),
        "import signal, time\nfor n in (15, 2, 1): signal.signal(n, signal.SIG_IGN)\nprint('begun')\ntime.sleep(60)"
            .into(),
        format!("import subprocess\nprint('begun')\nsubprocess.run(['sleep', '{marker}'])"),
        "import os, time\nprint('begun')\nos.close(1); os.close(2)\ntime.sleep(60)".into(),
        "import os, signal\nprint('begun')\nos.kill(os.getpid(), signal.SIGSTOP)".into(),
    ];
    for script in scripts {
        let begin = Instant::now();
        let result = run_within(&script, 1).await;
        assert_eq!(
            (result.stdout.as_str(), result.exit_code, result.timed_out),
            ("begun\n", 124, true),
            "{script}"
        );
        assert!(
            (1000..2500).contains(&result.duration_ms),
            "{script}: {}",
            result.duration_ms
        );
        assert!(begin.elapsed() < Duration::from_secs(5), "{script}");
    }
    eventually_none_with(&marker).await;
}

#[tokio::test]
async fn nothing_outlives_a_script() {
    let marker = format!("86400.{}", Uuid::new_v4().as_u128() % 1_000_000_007);
    // Two processes in sessions of their own, orphaned, and holding the script's stdout.
    let script = format!(
        "import os, subprocess\nfor _ in range(2):\n    if os.fork() == 0:\n        os.setsid()\n        \
         subprocess.Popen(['sleep', '{marker}'])\n        os._exit(0)\n    os.wait()\nprint('done')"
    );
    let begin = Instant::now();
    let result = run(&script).await;
    assert_eq!(
        (result.stdout.as_str(), result.exit_code),
        ("done\n", 0),
        "{}",
        result.stderr
    );
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(processes_with(&marker), 0);
}

#[tokio::test]
async fn dropping_a_run_ends_its_script() {
    let marker = format!("86400.{}", Uuid::new_v4().as_u128() % 1_000_000_007);
    let script = format!("import subprocess\nsubprocess.run(['sleep', '{marker}'])");
    let running = run_within(&script, 60);
    assert!(timeout(Duration::from_millis(1500), running).await.is_err());
    eventually_none_with(&marker).await;
}

#[tokio::test]
async fn a_supervisor_that_is_ended_takes_its_script_along_and_leaves_an_honest_error() {
    // What the script started goes, too, unless nothing is left to end it.
    for (signal, wait) in [
        ("-KILL", "time.sleep(60)"),
        ("-TERM", "subprocess.run(['sleep', '60'])"),
    ] {
        let script = format!("import os, subprocess, time\nprint(os.getppid(), os.getcwd())\n{wait}");
        let (sender, mut receiver) = mpsc::channel(4);
        let running = tokio::spawn(async move {
            let runner = LocalRunner::single_use().unwrap();
            runner.run_streaming(request(script), sender).await
        });
        let printed = receiver.recv().await.unwrap().text;
        let (supervisor, directory) = printed.trim().split_once(' ').unwrap();
        let killed = Command::new("kill").args([signal, supervisor]).status();
        assert!(killed.await.unwrap().success());
        let error = timeout(PATIENCE, running).await.unwrap().unwrap().unwrap_err();
        assert_eq!(
            (error.code, error.retryable),
            (ScriptErrorCode::SandboxLost, false),
            "{signal}: {error}"
        );
        eventually("a process is left", || processes_in(directory) == 0).await;
    }
}

#[tokio::test]
async fn a_directory_is_removed_whatever_is_in_it() {
    let script = "import os\nprint(os.getcwd())\nos.umask(0o777)\nos.mkdir('closed')\nos.umask(0)\n\
                  os.symlink('/', 'root')\nopen(b'\\xff', 'w')\n\
                  for n in range(3000):\n    os.mkdir('deep')\n    os.chdir('deep')";
    let result = run(script).await;
    assert_eq!(result.exit_code, 0, "{}", result.stderr);
    eventually_gone(result.stdout.trim_end().trim_end_matches("/home")).await;
}
