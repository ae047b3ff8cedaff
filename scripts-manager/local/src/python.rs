//! The Python of this machine: where it is, and what it says of itself.

use std::{
    env,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rockbot_scripts_api::ScriptError;
use tokio::{process::Command, sync::OnceCell, time::timeout};

use crate::process::unavailable;

/// How long Python may take to say what it is.
const ASK_DEADLINE: Duration = Duration::from_secs(10);

/// `python3`, as PATH has it.
#[derive(Debug)]
pub(crate) struct Python {
    found: PathBuf,
    interpreter: OnceCell<PathBuf>,
}

impl Python {
    /// Finds it.
    pub(crate) fn find() -> Result<Self, ScriptError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .map(|directory| directory.join("python3"))
            .find(|file| file.is_file());
        let none = || unavailable("there is no `python3` in PATH; install Python 3.9 or newer");
        Ok(Self::at(found.ok_or_else(none)?))
    }

    /// What a file is that is called `python3`, is not known yet.
    pub(crate) fn at(found: PathBuf) -> Self {
        Self {
            found,
            interpreter: OnceCell::new(),
        }
    }

    /// The interpreter itself. A version manager may have put a shell script in its place, which takes longer to start than
    /// Python does, and may choose another version in another directory.
    pub(crate) async fn path(&self) -> &Path {
        let interpreter = self.interpreter.get_or_init(async || {
            if !is_shell_script(&self.found) {
                return self.found.clone();
            }
            let told = ask(&self.found, "import sys; print(sys.executable)").await;
            // Whoever starts what cannot tell is told why.
            told.map_or_else(|_| self.found.clone(), PathBuf::from)
        });
        interpreter.await
    }
}

fn is_shell_script(program: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(program).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

/// What an interpreter prints.
pub(crate) async fn ask(python: &Path, code: &str) -> Result<String, ScriptError> {
    let asked = Command::new(python)
        .args(["-I", "-S", "-c", code])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(ASK_DEADLINE, asked).await {
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(unavailable(said.lines().last().unwrap_or("Python said nothing")))
        }
        Ok(Err(error)) => Err(unavailable(format!("cannot start {}: {error}", python.display()))),
        Err(_) => Err(unavailable(format!("{} does not answer", python.display()))),
    }
}
