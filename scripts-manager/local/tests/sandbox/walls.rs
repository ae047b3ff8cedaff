//! T17: the walls on one machine hold, and a supervisor without one of them runs nothing.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

use rockbot_sandbox::{ConversationError, Hello, SupervisorSettings};
use rockbot_scripts_local::LocalRunner;

use crate::{Supervisor, run};

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

/// An interpreter may be a link in somebody's own directory, which is none of a script's business.
#[tokio::test]
async fn what_is_around_a_link_to_the_interpreter_is_not_read() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("bin")).unwrap();
    let (python, secret) = (home.path().join("bin/python3"), home.path().join("secret"));
    let real = LocalRunner::single_use().unwrap().interpreter().await.to_owned();
    symlink(real, &python).unwrap();
    fs::write(&secret, "hunter2").unwrap();
    let settings = SupervisorSettings::default();
    let supervisor = Supervisor::start_by(Some(&python), settings, "", Hello::default()).await;
    let script = format!(
        "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(6 * 7)'], stdout=-1).stdout)\nopen({secret:?})"
    );
    let ending = supervisor.run(&script).await;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&ending.stdout),
        String::from_utf8_lossy(&ending.stderr),
    );
    assert_eq!(stdout, "b'42\\n'\n", "{stderr}");
    assert!(stderr.contains("PermissionError"), "{stderr}");
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
async fn a_supervisor_that_finds_a_wall_missing_runs_nothing() {
    let cases = [
        (
            "import ctypes\nreal = ctypes.CDLL\nclass Fake:\n    def __init__(self, lib): self.lib = lib\n    def __getattr__(self, name): \
          return (lambda *a: 0) if name == 'capset' else (lambda o, *a: 0 if o == 22 else self.lib.prctl(o, *a)) if name == 'prctl' \
          else getattr(self.lib, name)\nctypes.CDLL = lambda *a, **k: Fake(real(*a, **k))\n",
            "seccomp: a socket of family 2 is not refused",
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
        let supervisor = Supervisor::start_with(SupervisorSettings::default(), prelude, Hello::default()).await;
        let Err(ConversationError::Refused { reason }) = supervisor.conversation else {
            panic!("{:?}", supervisor.conversation)
        };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_call_that_is_let_through_is_found() {
    for (call, numbers) in [("ptrace", [101, 117]), ("bpf", [321, 280]), ("mount", [165, 40])] {
        // Says that the call has worked, and makes none.
        let prelude = format!(
            "import ctypes\nreal = ctypes.CDLL\nclass Fake:\n    def __init__(self, lib): self.lib = lib\n    \
             def __getattr__(self, name): return self.call if name == 'syscall' else getattr(self.lib, name)\n    \
             def call(self, number, *a): return 0 if number in {numbers:?} else self.lib.syscall(number, *a)\n\
             ctypes.CDLL = lambda *a, **k: Fake(real(*a, **k))\n"
        );
        let supervisor = Supervisor::start_with(SupervisorSettings::default(), &prelude, Hello::default()).await;
        let Err(ConversationError::Refused { reason }) = supervisor.conversation else {
            panic!("{:?}", supervisor.conversation)
        };
        assert!(reason.contains(&format!("seccomp: {call} is not refused")), "{reason}");
    }
}
