//! What came of a script: its output and files as they arrive, and the answer that they become.

use base64::{Engine, prelude::BASE64_STANDARD};
use rockbot_scripts_api::{OutputFile, ScriptResult};
use thiserror::Error;

use crate::{Exit, MAX_FILES, Run};

/// What a script wrote and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Files that it left in its output directory.
    pub files: Vec<File>,
    /// How it ended.
    pub exit: Exit,
}

/// A file that a script left in its output directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Path below that directory, with `/` between its parts.
    pub name: String,
    /// Content.
    pub data: Vec<u8>,
}

/// An end that cannot be taken for the script's.
#[derive(Debug, Error)]
pub enum EndingError {
    /// The transport lost a part of the output.
    #[error("a part of the script's output was lost on its way")]
    Lost,
    /// More than the supervisor was told to send at most.
    #[error("the sandbox sent more output than it was asked for")]
    TooMuch,
    /// A name that leads elsewhere, or content without a name.
    #[error("the sandbox sent a file without a proper name")]
    Nameless,
}

impl Ending {
    pub(crate) fn begin_file(&mut self, name: String) -> Result<(), EndingError> {
        if !is_below(&name) {
            return Err(EndingError::Nameless);
        }
        self.files.push(File { name, data: Vec::new() });
        Ok(())
    }

    pub(crate) fn continue_file(&mut self, bytes: &[u8]) -> Result<(), EndingError> {
        let file = self.files.last_mut().ok_or(EndingError::Nameless)?;
        file.data.extend_from_slice(bytes);
        Ok(())
    }

    /// A supervisor keeps to the caps by itself; this keeps our memory when it does not.
    pub(crate) fn check_caps(&self, run: &Run) -> Result<(), EndingError> {
        let output = (self.stdout.len() + self.stderr.len()) as u64;
        let within = output <= run.max_output_bytes
            && self.files_bytes() <= run.max_files_bytes
            && self.files.len() <= MAX_FILES;
        within.then_some(()).ok_or(EndingError::TooMuch)
    }

    /// The whole of it, unless something is missing.
    pub(crate) fn complete(self, exit: Exit) -> Result<Self, EndingError> {
        let arrived = (self.stdout.len() as u64, self.stderr.len() as u64, self.files_bytes());
        let complete = arrived == (exit.stdout_bytes, exit.stderr_bytes, exit.files_bytes);
        complete.then_some(Self { exit, ..self }).ok_or(EndingError::Lost)
    }

    fn files_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.data.len() as u64).sum()
    }

    /// The answer to whoever asked for the script; `script_id` names the sandbox.
    pub fn into_result(self, script_id: String) -> ScriptResult {
        let Self {
            stdout,
            stderr,
            files,
            exit,
        } = self;
        let (stdout, stdout_base64) = text(stdout);
        let (stderr, stderr_base64) = text(stderr);
        ScriptResult {
            exit_code: exit.exit_code(),
            stdout,
            stderr,
            stdout_base64,
            stderr_base64,
            duration_ms: exit.duration_ms,
            timed_out: exit.timed_out,
            truncated: exit.truncated,
            oom_killed: exit.oom_killed,
            signal: exit.signal,
            cpu_ms: exit.cpu_ms,
            peak_memory_bytes: exit.max_rss_kb << 10,
            files: files.into_iter().map(File::into_output).collect(),
            files_dropped: exit.files_dropped,
            script_id,
        }
    }
}

impl File {
    fn into_output(self) -> OutputFile {
        OutputFile {
            media_type: mime_guess::from_path(&self.name).first_or_octet_stream().to_string(),
            data: BASE64_STANDARD.encode(&self.data),
            name: self.name,
        }
    }
}

impl Exit {
    /// One number for every end, as shells and `timeout(1)` have it.
    fn exit_code(&self) -> i32 {
        match (self.timed_out, self.code, self.signal) {
            (true, ..) => 124,
            (false, Some(code), _) => code,
            (false, None, signal) => 128 + signal.unwrap_or_default(),
        }
    }
}

/// Whether a path stays below the directory that it is relative to, and can be shown.
fn is_below(path: &str) -> bool {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.split('/').all(is_name)
}

/// Output as text, without a copy when it is UTF-8; else also the very bytes.
fn text(bytes: Vec<u8>) -> (String, Option<String>) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => (
            String::from_utf8_lossy(error.as_bytes()).into_owned(),
            Some(BASE64_STANDARD.encode(error.as_bytes())),
        ),
    }
}
