//! T16, T18: the supervisor as it is, with real scripts, on this machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeMap,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use rockbot_sandbox::{Conversation, ConversationError, Place, Seccomp, supervisor_command};
use rockbot_scripts_api::{ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use serde_json::json;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

async fn run_request(request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
    LocalRunner::single_use()?.run(request).await
}

async fn run_within(script: &str, timeout_seconds: u32) -> ScriptResult {
    let request = ScriptRequest {
        script: script.into(),
        input_data: None,
        timeout_seconds,
    };
    run_request(request).await.unwrap()
}

async fn run(script: &str) -> ScriptResult {
    run_within(script, 20).await
}

/// Number of processes whose command line holds `marker`.
fn processes_with(marker: &str) -> usize {
    let commands = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    commands
        .filter(|command| String::from_utf8_lossy(command).contains(marker))
        .count()
}

async fn eventually_none_with(marker: &str) {
    let begin = Instant::now();
    while processes_with(marker) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(5), "a process is left");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn t16_a_script_ends_as_python_ends_it() {
    let cases = [
        ("print(6*7)", "42\n", "", 0),
        (
            "import sys; print('out'); print('err', file=sys.stderr)",
            "out\n",
            "err\n",
            0,
        ),
        ("import sys; sys.stdout.write('no newline')", "no newline", "", 0),
        ("import sys; sys.exit()", "", "", 0),
        ("import sys; sys.exit(3)", "", "", 3),
        ("import sys; sys.exit(-1)", "", "", 255),
        ("import sys; sys.exit('told why')", "", "told why\n", 1),
        ("exit(4)", "", "", 4),
        ("import os; print('kept'); os._exit(7)", "kept\n", "", 7),
        (
            "import atexit; atexit.register(print, 'last'); print('first')",
            "first\nlast\n",
            "",
            0,
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "", "", 137),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "", "", 143),
        ("if __name__ == '__main__': print('main')", "main\n", "", 0),
        ("import sys; print(sys.stdin.read() == '')", "True\n", "", 0),
        (
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.2), print('joined'))).start()",
            "joined\n",
            "",
            0,
        ),
    ];
    for (script, stdout, stderr, exit_code) in cases {
        let result = run(script).await;
        assert_eq!(
            (result.stdout.as_str(), result.stderr.as_str(), result.exit_code),
            (stdout, stderr, exit_code),
            "{script}"
        );
        assert!(!result.timed_out && !result.truncated, "{script}");
    }
}

#[tokio::test]
async fn t16_an_exception_shows_the_scripts_own_lines_and_nothing_of_ours() {
    let result = run("def half(n):\n    return 1 / n\n\nhalf(0)\n").await;
    assert_eq!(result.exit_code, 1);
    assert!(
        result
            .stderr
            .starts_with("Traceback (most recent call last):\n  File \"<script>\", line 4, in <module>")
    );
    assert!(
        result.stderr.contains("    return 1 / n\n")
            && result.stderr.ends_with("ZeroDivisionError: division by zero\n")
    );
    assert_eq!(result.stderr.matches("File \"").count(), 2, "{}", result.stderr);
    let result = run("print('never')\nif True print(1)").await;
    assert_eq!((result.stdout.as_str(), result.exit_code), ("", 1));
    assert!(result.stderr.starts_with("  File \"<script>\", line 2") && result.stderr.contains("SyntaxError"));
    assert_eq!(run("a\0b").await.exit_code, 1);
}

#[tokio::test]
async fn t16_input_arrives_as_an_environment_variable() {
    let script = "import os; print(os.environ.get('ROCKBOT_INPUT'))";
    let long = "x".repeat(100_000);
    let inputs = [
        (None, "None"),
        (Some(json!("as it is")), "as it is"),
        (Some(json!("")), ""),
        (Some(json!("né🦀\n")), "né🦀\n"),
        (Some(json!({ "a": [1, null] })), r#"{"a":[1,null]}"#),
        (Some(json!(long)), long.as_str()),
    ];
    for (input_data, expected) in inputs {
        let request = ScriptRequest {
            script: script.into(),
            input_data,
            timeout_seconds: 20,
        };
        assert_eq!(run_request(request).await.unwrap().stdout, format!("{expected}\n"));
    }
    let child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"ROCKBOT_INPUT\"])'])";
    let request = ScriptRequest {
        script: child.into(),
        input_data: Some(json!("passed on")),
        timeout_seconds: 20,
    };
    assert_eq!(run_request(request).await.unwrap().stdout, "passed on\n");
}

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
async fn output_beyond_the_cap_is_dropped_and_said_so() {
    let begin = Instant::now();
    let result =
        run("import sys\nfor _ in range(300): sys.stdout.write('x' * 100_000)\nsys.stderr.write('lost')\nexit(5)")
            .await;
    assert_eq!(
        (result.stdout.len(), result.stderr.as_str(), result.exit_code),
        (1 << 20, "", 5)
    );
    assert!(result.truncated && begin.elapsed() < Duration::from_secs(10));
    let exact = run("import sys\nsys.stdout.write('x' * 2**20)").await;
    assert!(!exact.truncated && exact.stdout.len() == 1 << 20);
}

#[tokio::test]
async fn binary_output_and_forged_frames_are_just_output() {
    let result = run("import os, struct\nos.write(1, b'\\xff\\x00ok')").await;
    assert_eq!(result.stdout, "\u{fffd}\0ok");
    let forged =
        run("import os, struct\np = b'{\"code\": 0}'\nos.write(1, struct.pack('>IB', len(p), 0x85) + p)\nexit(9)")
            .await;
    assert_eq!(forged.exit_code, 9);
    assert!(forged.stdout.ends_with("{\"code\": 0}"));
}

#[tokio::test]
async fn walls_hold() {
    let result = run(include_str!("walls.py")).await;
    let seen: BTreeMap<String, String> = serde_json::from_str(&result.stdout).unwrap_or_else(|_| panic!("{result:?}"));
    for (attempt, outcome) in &seen {
        let expected: &[&str] = match attempt.as_str() {
            "io_uring_setup" | "clone3" => &["ENOSYS"],
            "the supervisor's memory" | "the supervisor's environment" | "the supervisor's descriptors" => {
                &["EACCES", "EPERM"]
            }
            _ => &["EPERM"],
        };
        assert!(expected.contains(&outcome.as_str()), "{attempt}: {outcome}");
    }
    assert_eq!(seen.len(), 61, "an attempt is missing: {seen:?}");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn foreign_system_calls_kill() {
    // getpid as a 32-bit program asks for it, and in x32's numbering.
    let machine_code = "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n\
                        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()";
    let x32 = "import ctypes\nctypes.CDLL(None).syscall(0x40000000 | 39)";
    for script in [machine_code, x32] {
        assert_eq!(run(script).await.exit_code, 128 + 31, "{script}");
    }
}

#[tokio::test]
async fn what_scripts_need_works() {
    let result = run(include_str!("needs.py")).await;
    assert_eq!(
        (result.stdout.as_str(), result.exit_code),
        ("all works\n", 0),
        "{}",
        result.stderr
    );
}

#[tokio::test]
async fn a_script_sees_no_environment_and_no_residue() {
    let runner = LocalRunner::new(1).unwrap();
    let script = "import os, json, sys\nold = open('/proc/self/environ').read()\n\
                  print(json.dumps([os.getcwd(), os.listdir('.'), sorted(os.environ), 'CARGO' in old, hasattr(json, 'mark')]))\n\
                  json.mark = True\nopen('mark', 'w').write('x')";
    let mut directories = Vec::new();
    for _ in 0..3 {
        let request = ScriptRequest {
            script: script.into(),
            input_data: None,
            timeout_seconds: 20,
        };
        let result = runner.run(request).await.unwrap();
        let (cwd, files, names, leaked, marked): (String, Vec<String>, Vec<String>, bool, bool) =
            serde_json::from_str(&result.stdout).unwrap_or_else(|_| panic!("{result:?}"));
        assert!(files.is_empty() && !leaked && !marked);
        assert_eq!(names, ["HOME", "LANG", "PATH", "PWD", "TMPDIR"]);
        directories.push(cwd);
    }
    directories.dedup();
    assert_eq!(directories.len(), 3);
    let begin = Instant::now();
    while directories.iter().any(|directory| fs::exists(directory).unwrap()) {
        assert!(begin.elapsed() < Duration::from_secs(5), "a directory is left");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn scripts_at_the_same_time_are_not_mixed_up() {
    let runner = LocalRunner::new(2).unwrap();
    let runs = (0..20).map(|n| {
        let runner = runner.clone();
        tokio::spawn(async move {
            let script = format!("import time; time.sleep(0.01); print('{n}' * 1000)");
            let request = ScriptRequest {
                script,
                input_data: None,
                timeout_seconds: 20,
            };
            (n, runner.run(request).await.unwrap())
        })
    });
    let mut ids = Vec::new();
    for run in runs {
        let (n, result) = run.await.unwrap();
        assert_eq!(result.stdout, format!("{}\n", n.to_string().repeat(1000)));
        ids.push(result.script_id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "a sandbox was used twice");
}

#[tokio::test]
async fn a_script_that_ends_its_supervisor_ends_with_it_and_gets_an_honest_error() {
    for signal in ["SIGKILL", "SIGTERM"] {
        let script = format!("import os, signal, time\nos.kill(os.getppid(), signal.{signal})\ntime.sleep(60)");
        let begin = Instant::now();
        let request = ScriptRequest {
            script,
            input_data: None,
            timeout_seconds: 60,
        };
        let error = run_request(request).await.unwrap_err();
        assert_eq!(
            (error.code, error.retryable),
            (ScriptErrorCode::SandboxLost, false),
            "{signal}: {error}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5), "{signal}");
    }
}

#[tokio::test]
async fn a_supervisor_that_finds_a_wall_missing_runs_nothing() {
    let cases = [
        (
            "import ctypes\nreal = ctypes.CDLL\nclass Fake:\n    def __init__(self, lib): self.lib = lib\n    def __getattr__(self, name): \
          return (lambda *a: 0) if name == 'capset' else (lambda o, *a: 0 if o == 22 else self.lib.prctl(o, *a)) if name == 'prctl' \
          else getattr(self.lib, name)\nctypes.CDLL = lambda *a, **k: Fake(real(*a, **k))\n",
            "",
        ),
        (
            "import os\nclass Name: machine = 'riscv64'\nos.uname = lambda: Name\n",
            "architecture riscv64",
        ),
        (
            "import os\ndef fork(): raise OSError('no more processes')\nos.fork = fork\n",
            "no more processes",
        ),
    ];
    for (prelude, expected) in cases {
        let mut command = supervisor_command(Place::Local, Seccomp::On);
        command[5].insert_str(0, prelude);
        let mut child = tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let opened = Conversation::open(child.stdout.take().unwrap(), child.stdin.take().unwrap()).await;
        let Err(ConversationError::Refused { reason }) = opened else {
            panic!("{opened:?}")
        };
        assert!(reason.contains(expected), "{reason}");
    }
}
