//! One supervisor as a child process, with a directory of its own; both are gone after it.

use std::{
    env, fmt,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rockbot_sandbox::{
    Conversation, ConversationError, Hello, Place, Ready, Relay, Run, SupervisorSettings, Walls, supervisor_command,
};
use rockbot_scripts_api::{OutputChunk, ScriptError, ScriptErrorCode, ScriptResult};
use tokio::{
    fs::File,
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    sync::mpsc,
    time::timeout,
};
use uuid::Uuid;

/// Longest start of Python with the common modules; it takes about 0.1 s.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time to unpack packages; the largest take a second or two.
const UNPACK_DEADLINE: Duration = Duration::from_secs(60);
/// Longest time to tell a supervisor that its output has arrived.
const ACK_DEADLINE: Duration = Duration::from_secs(1);
/// How long the reader of a script's output may take for what is left of it when the script has ended.
const RELAY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a supervisor may take to end everything once its stdin is closed.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// A supervisor that is ready for its one script.
pub(crate) struct Sandbox {
    id: String,
    // Dropped first: the end of its stdin tells a supervisor to end the script and whatever the script started.
    conversation: Conversation<ChildStdout, ChildStdin>,
    _process: Process,
}

/// Waited for once it is dropped; only then its directory goes.
struct Process(Option<(Child, Directory)>);

/// A temporary directory, whatever a script left in it.
struct Directory(PathBuf);

impl Sandbox {
    /// Starts a supervisor and waits until its walls are up.
    pub(crate) async fn start(python: &Path, walls: Walls) -> Result<Self, ScriptError> {
        let directory = tempfile::Builder::new()
            .prefix(&directory_prefix())
            .tempdir()
            .map(|directory| Directory(directory.keep()))
            .map_err(|error| unavailable(format!("cannot make a directory for the script: {error}")))?;
        let mut child = command(python, walls, &directory.0)
            .spawn()
            .map_err(|error| unavailable(format!("cannot start {}: {error}", python.display())))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Process(Some((child, directory)));
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(unavailable("a child process without its pipes"));
        };
        match timeout(START_DEADLINE, Conversation::open(stdout, stdin, Hello::default())).await {
            Ok(Ok(conversation)) => {
                let id = format!("local-{}", Uuid::new_v4().simple());
                Ok(Self {
                    id,
                    conversation,
                    _process: process,
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

    /// What the supervisor said about itself.
    pub(crate) fn ready(&self) -> &Ready {
        self.conversation.ready()
    }

    pub(crate) async fn is_alive(&mut self) -> bool {
        timeout(Duration::ZERO, self.conversation.closed()).await.is_err()
    }

    /// Has packages unpacked, for the script to import.
    pub(crate) async fn install(&mut self, archive: &Path) -> Result<(), ScriptError> {
        let layer = File::open(archive).await;
        let layer = layer.map_err(|error| unavailable(format!("cannot open {}: {error}", archive.display())))?;
        match timeout(UNPACK_DEADLINE, self.conversation.install(layer)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!(
                "packages are not unpacked after {UNPACK_DEADLINE:?}"
            ))),
        }
    }

    /// Runs the one script of this sandbox. Dropping the future ends the script.
    pub(crate) async fn run(
        mut self,
        run: &Run,
        output: Option<&mpsc::Sender<OutputChunk>>,
        limit: Duration,
    ) -> Result<ScriptResult, ScriptError> {
        let lost = |message| ScriptError::new(ScriptErrorCode::SandboxLost, message);
        let mut relay = Relay::new(output);
        let ending = timeout(limit, self.conversation.run(run, &mut relay))
            .await
            .map_err(|_| lost(format!("the sandbox did not answer within {limit:?}")))?
            .map_err(|error| lost(error.to_string()))?;
        // It would go without, a little later.
        let _ = timeout(ACK_DEADLINE, self.conversation.acknowledge()).await;
        let id = self.id.clone();
        drop(self);
        // The result has all of it, too.
        let _ = timeout(RELAY_DEADLINE, relay.finish()).await;
        Ok(ending.into_result(id))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without a runtime the supervisor still ends by itself; only nobody waits for it.
        if let (Some((mut child, directory)), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if timeout(END_DEADLINE, child.wait()).await.is_err() {
                    let _ = child.kill().await;
                }
                drop(directory);
            });
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.0).is_err() {
            open_up(&self.0);
            if let Err(error) = fs::remove_dir_all(&self.0) {
                tracing::warn!(directory = %self.0.display(), %error, "a script's directory is left");
            }
        }
    }
}

/// Makes every directory below one that its owner may empty: a script can make some that nobody may enter.
fn open_up(directory: &Path) {
    let _ = fs::set_permissions(directory, Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // The type is the entry's own: a link is not followed.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How the names of this process's directories for scripts begin, in the directory for temporary files.
pub(crate) fn directory_prefix() -> String {
    format!("rockbot-script-{}-", std::process::id())
}

fn command(python: &Path, walls: Walls, directory: &Path) -> Command {
    let arguments = supervisor_command(&SupervisorSettings {
        place: Place::Local,
        walls,
        ..SupervisorSettings::default()
    });
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

pub(crate) fn unavailable(message: impl Into<String>) -> ScriptError {
    ScriptError::new(ScriptErrorCode::SandboxUnavailable, message)
}
