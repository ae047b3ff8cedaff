//! T16, T17, T18: the supervisor as it is, with real scripts, on this machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rockbot_sandbox::{
    Caps, Conversation, ConversationError, Ending, Hello, Place, Relay, Run, SupervisorSettings, supervisor_command,
};
use rockbot_scripts_api::{ScriptError, ScriptRequest, ScriptResult, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use tempfile::TempDir;
use tokio::{
    process::{Child, ChildStdin, ChildStdout, Command},
    time::sleep,
};

mod canary;
mod ends;
mod files;
mod layers;
mod many;
mod output;
mod packages;
mod scripts;
mod walls;

/// How long what should happen soon may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn request(script: impl Into<String>) -> ScriptRequest {
    ScriptRequest {
        script: script.into(),
        timeout_seconds: 20,
        ..ScriptRequest::default()
    }
}

async fn run_request(request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
    LocalRunner::single_use()?.run(request).await
}

async fn run_within(script: &str, timeout_seconds: u32) -> ScriptResult {
    let request = ScriptRequest {
        timeout_seconds,
        ..request(script)
    };
    run_request(request).await.unwrap()
}

async fn run(script: &str) -> ScriptResult {
    run_request(request(script)).await.unwrap()
}

/// A supervisor without the runner around it.
struct Supervisor {
    conversation: Result<Conversation<ChildStdout, ChildStdin>, ConversationError>,
    _process: Child,
    directory: TempDir,
}

impl Supervisor {
    async fn start(settings: SupervisorSettings) -> Self {
        Self::start_with(settings, "", Hello::default()).await
    }

    /// `prelude` is Python that runs before the supervisor's own.
    async fn start_with(settings: SupervisorSettings, prelude: &str, hello: Hello) -> Self {
        Self::start_by(None, settings, prelude, hello).await
    }

    /// `python` is the interpreter, where it is another one than that of PATH.
    async fn start_by(python: Option<&Path>, settings: SupervisorSettings, prelude: &str, hello: Hello) -> Self {
        let settings = SupervisorSettings {
            place: Place::Local,
            ..settings
        };
        let mut command = supervisor_command(&settings);
        command[5].insert_str(0, prelude);
        let directory = tempfile::tempdir().unwrap();
        let python = python.unwrap_or(Path::new(&command[0]));
        let mut process = Command::new(python)
            .args(&command[1..])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdout, stdin) = (process.stdout.take().unwrap(), process.stdin.take().unwrap());
        Self {
            conversation: Conversation::open(stdout, stdin, hello).await,
            _process: process,
            directory,
        }
    }

    async fn run(mut self, script: &str) -> Ending {
        let run = Run::new(request(script), Caps::default());
        let conversation = self.conversation.as_mut().unwrap();
        conversation.run(&run, &mut Relay::default()).await.unwrap()
    }
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

/// Number of processes whose working directory is below `directory`.
fn processes_in(directory: &str) -> usize {
    let directories = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok());
    directories.filter(|cwd| cwd.starts_with(directory)).count()
}

async fn eventually(what: &str, happened: impl Fn() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn eventually_none_with(marker: &str) {
    eventually("a process is left", || processes_with(marker) == 0).await;
}

async fn eventually_gone(directory: &str) {
    eventually("a directory is left", || !Path::new(directory).exists()).await;
}
