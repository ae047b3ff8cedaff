//! One supervisor as a child process, with a directory of its own; both are gone after it.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rockbot_sandbox::{Conversation, ConversationError, Place, Run, Seccomp, supervisor_command};
use rockbot_scripts_api::{ScriptError, ScriptErrorCode, ScriptResult};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    time::timeout,
};
use uuid::Uuid;

/// Longest start of Python with the common modules; it takes about 0.1 s.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a supervisor may take to end everything once its stdin is closed.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// A supervisor that is ready for its one script.
pub(crate) struct Sandbox {
    id: String,
    // Dropped first: the end of its stdin tells a supervisor to end the script and whatever the script started.
    conversation: Conversation<ChildStdout, ChildStdin>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    directory: TempDir,
}

impl Sandbox {
    /// Starts a supervisor and waits until its walls are up.
    pub(crate) async fn start(python: &Path) -> Result<Self, ScriptError> {
        let directory = tempfile::Builder::new()
            .prefix("rockbot-script-")
            .tempdir()
            .map_err(|error| unavailable(format!("cannot make a directory for the script: {error}")))?;
        let mut child = command(python, directory.path())
            .spawn()
            .map_err(|error| unavailable(format!("cannot start {}: {error}", python.display())))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(unavailable("a child process without its pipes"));
        };
        match timeout(START_DEADLINE, Conversation::open(stdout, stdin)).await {
            Ok(Ok(conversation)) => {
                let id = format!("local-{}", Uuid::new_v4().simple());
                Ok(Self {
                    id,
                    conversation,
                    process: Some(Process { child, directory }),
                })
            }
            Ok(Err(ConversationError::Closed | ConversationError::Io(_))) => {
                let words = last_words(stderr).await;
                Err(unavailable(format!(
                    "{} does not start (3.9 or newer is needed): {words}",
                    python.display()
                )))
            }
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!(
                "{} is not ready after {START_DEADLINE:?}",
                python.display()
            ))),
        }
    }

    pub(crate) async fn is_alive(&mut self) -> bool {
        timeout(Duration::ZERO, self.conversation.closed()).await.is_err()
    }

    /// Runs the one script of this sandbox. Dropping the future ends the script.
    pub(crate) async fn run(mut self, run: &Run, limit: Duration) -> Result<ScriptResult, ScriptError> {
        match timeout(limit, self.conversation.run(run)).await {
            Ok(Ok(ending)) => {
                // It would go without, a little later.
                let _ = self.conversation.acknowledge().await;
                Ok(ending.into_result(self.id.clone()))
            }
            Ok(Err(error)) => Err(ScriptError::new(ScriptErrorCode::SandboxLost, error.to_string())),
            Err(_) => {
                let message = format!("the sandbox did not answer within {limit:?}");
                Err(ScriptError::new(ScriptErrorCode::SandboxLost, message))
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Without a runtime the supervisor still ends by itself; only nobody waits for it.
        if let (Some(mut process), Ok(runtime)) = (self.process.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if timeout(END_DEADLINE, process.child.wait()).await.is_err() {
                    let _ = process.child.kill().await;
                }
                drop(process.directory);
            });
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where `python3` is.
pub(crate) fn find_python() -> Result<PathBuf, ScriptError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join("python3"))
        .find(|file| file.is_file())
        .ok_or_else(|| unavailable("there is no `python3` in PATH; install Python 3.9 or newer"))
}

fn command(python: &Path, directory: &Path) -> Command {
    let arguments = supervisor_command(Place::Local, Seccomp::On);
    let mut command = Command::new(python);
    command
        .args(&arguments[1..])
        .current_dir(directory)
        // A script can read the environment that its interpreter was started with, so the caller's keys stay out of it.
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The last line that a supervisor wrote before it ended.
async fn last_words(stderr: ChildStderr) -> String {
    let mut text = Vec::new();
    let mut stderr = stderr.take(16 << 10);
    if timeout(Duration::from_secs(1), stderr.read_to_end(&mut text))
        .await
        .is_err()
        || text.is_empty()
    {
        return "it said nothing".to_owned();
    }
    String::from_utf8_lossy(&text)
        .trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

fn unavailable(message: impl Into<String>) -> ScriptError {
    ScriptError::new(ScriptErrorCode::SandboxUnavailable, message)
}
