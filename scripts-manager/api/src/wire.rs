//! Bodies of `POST /v1/scripts`.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use thiserror::Error;

use crate::Requirements;

/// Deadline of a script that names none (the tools document's default).
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 30;
/// Longest deadline that a script may ask for.
pub const MAX_TIMEOUT_SECONDS: u32 = 300;
/// Longest script, in bytes of UTF-8.
pub const MAX_SCRIPT_BYTES: usize = 1 << 20;
/// Longest `input_data`, in bytes of its text (a string itself, anything else as JSON).
pub const MAX_INPUT_BYTES: usize = 8 << 20;
/// Longest `input_data` that a script also finds in `ROCKBOT_INPUT`: Linux refuses an environment variable beyond
/// 128 KiB (`MAX_ARG_STRLEN`).
pub const MAX_INPUT_VARIABLE_BYTES: usize = 127 << 10;
/// Most packages that a script may name.
pub const MAX_PACKAGES: usize = 32;

/// Longest `pip_packages`, as JSON.
const MAX_PACKAGES_TEXT: usize = MAX_PACKAGES * 2048;

/// What a full queue and a cold sandbox may take.
const MARGIN: Duration = Duration::from_secs(60);
/// What finding, fetching and unpacking packages may take.
const PACKAGES_MARGIN: Duration = Duration::from_secs(150);

/// One script to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScriptRequest {
    /// Python source.
    pub script: String,
    /// Reaches the script as the file that `ROCKBOT_INPUT_FILE` names, and as `ROCKBOT_INPUT` up to
    /// [`MAX_INPUT_VARIABLE_BYTES`]: a string as it is, any other JSON value as its JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_data: Option<Value>,
    /// Deadline in seconds, 1 to [`MAX_TIMEOUT_SECONDS`].
    pub timeout_seconds: u32,
    /// Python packages that the script imports, as PEP 508 names with an optional version: `numpy`, `pandas==2.2.3`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pip_packages: Vec<String>,
}

/// A [`ScriptRequest`] as it arrives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    script: String,
    #[serde(borrow, default)]
    input_data: Option<&'a RawValue>,
    #[serde(default = "default_timeout")]
    timeout_seconds: u32,
    #[serde(borrow, default)]
    pip_packages: Option<&'a RawValue>,
}

/// How a script ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScriptResult {
    /// What the script wrote to standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// What the script wrote to standard error, invalid UTF-8 replaced.
    pub stderr: String,
    /// The very bytes of standard output in base64, when they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// The very bytes of standard error in base64, when they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
    /// Exit status; 128 + signal number when a signal ended it, 124 when the deadline did (as `timeout(1)` has it).
    pub exit_code: i32,
    /// Wall time from the script's start to its end.
    pub duration_ms: u64,
    /// Whether the deadline ended it.
    pub timed_out: bool,
    /// Whether output beyond the cap was dropped.
    pub truncated: bool,
    /// Whether the kernel ended a process of the script because its memory ran out.
    #[serde(default)]
    pub oom_killed: bool,
    /// Signal that ended the script, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// CPU time of the script and the processes that it waited for.
    #[serde(default)]
    pub cpu_ms: u64,
    /// Most memory that a process of the script had resident at once.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// Files that the script left in `ROCKBOT_OUTPUT_DIR`, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<OutputFile>,
    /// Files that it left there and that do not come back: beyond the cap, or not regular files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files_dropped: Vec<DroppedFile>,
    /// Identity of this run and of the single-use sandbox that served it: the pod's name on a cluster.
    pub script_id: String,
}

/// A file that a script made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Path below `ROCKBOT_OUTPUT_DIR`, with `/` between its parts.
    pub name: String,
    /// Media type by its extension; `application/octet-stream` when that says nothing.
    pub media_type: String,
    /// Content in base64.
    pub data: String,
}

/// A file that a script made and that does not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedFile {
    /// Path below `ROCKBOT_OUTPUT_DIR`.
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

/// What a running script just wrote; the `data` of the `stdout` and `stderr` events of the streamed form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// The stream that it wrote to. Not in `data`: the event's name says it.
    #[serde(skip)]
    pub stream: OutputStream,
    /// Text; a character that was cut at the chunk's end comes with the next chunk, invalid UTF-8 is replaced.
    pub text: String,
}

/// One of a script's two streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why a script was not run to its end.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{message}")]
pub struct ScriptError {
    /// Category, stable across versions.
    pub code: ScriptErrorCode,
    /// What happened and what to do next, for a person or a model.
    pub message: String,
    /// Whether asking again cannot run the script twice: it certainly did not start, or, with
    /// [`ScriptErrorCode::ResultUnread`], whoever asks with the same idempotency key gets its result.
    pub retryable: bool,
    /// Seconds after which asking again makes sense, when known.
    pub retry_after_seconds: Option<u64>,
}

/// Categories of [`ScriptError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptErrorCode {
    /// The request is malformed or out of bounds.
    InvalidRequest,
    /// No valid token for this service.
    Unauthenticated,
    /// The token is valid, but its owner may not do this.
    Forbidden,
    /// The packages cannot be had: unknown, forbidden, without a wheel, too large.
    PackagesRefused,
    /// The package index does not answer.
    PackageIndexUnavailable,
    /// Queue full; ask again later.
    Overloaded,
    /// No sandbox could be had.
    SandboxUnavailable,
    /// The sandbox was lost while the script ran.
    SandboxLost,
    /// The script has run, but there is no room for its result now. Asking again with the same idempotency key gets it.
    ResultUnread,
    /// Something in the service itself.
    Internal,
}

/// Body of every response with an error status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The error inside [`ErrorBody`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// See [`ScriptError::code`].
    pub code: ScriptErrorCode,
    /// See [`ScriptError::message`].
    pub message: String,
    /// See [`ScriptError::retryable`].
    #[serde(default)]
    pub retryable: bool,
}

/// How long an answer may take: the script's own time, a full queue, a cold sandbox, and packages that are not there yet.
pub fn longest_wait(timeout_seconds: u32, with_packages: bool) -> Duration {
    let packages = if with_packages { PACKAGES_MARGIN } else { Duration::ZERO };
    Duration::from_secs(timeout_seconds.into()) + MARGIN + packages
}

impl ScriptRequest {
    /// The valid request that a body is. An input of any form stays the text that it is: as a tree it would take many times
    /// that memory.
    ///
    /// # Errors
    /// [`ScriptErrorCode::InvalidRequest`] naming the field, what was wrong and what is allowed.
    pub fn from_body(body: &[u8]) -> Result<Self, ScriptError> {
        let wrong = |error: serde_json::Error| ScriptError::invalid(format!("the body: {error}"));
        let body: Body<'_> = serde_json::from_slice(body).map_err(wrong)?;
        let input = match body.input_data.map(RawValue::get) {
            Some(text) if text.starts_with('"') => Some(serde_json::from_str(text).map_err(wrong)?),
            Some("null") | None => None,
            Some(json) => Some(json.to_owned()),
        };
        let packages = match body.pip_packages.map(RawValue::get) {
            Some(text) if text.len() > MAX_PACKAGES_TEXT => {
                let message = format!("pip_packages: too long; at most {MAX_PACKAGES} packages are allowed");
                return Err(ScriptError::invalid(message));
            }
            Some(text) => {
                serde_json::from_str(text).map_err(|error| ScriptError::invalid(format!("pip_packages: {error}")))?
            }
            None => Vec::new(),
        };
        let request = Self {
            script: body.script,
            input_data: input.map(Value::String),
            timeout_seconds: body.timeout_seconds,
            pip_packages: packages,
        };
        request.validate()?;
        Ok(request)
    }

    /// The text that the script finds in the file of `ROCKBOT_INPUT_FILE`, if any.
    pub fn input_text(&self) -> Option<Cow<'_, str>> {
        self.input_data.as_ref().map(|value| match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }

    /// Checks every bound that the type does not express.
    ///
    /// # Errors
    /// [`ScriptErrorCode::InvalidRequest`] naming the field, what was wrong and what is allowed.
    pub fn validate(&self) -> Result<(), ScriptError> {
        if self.script.trim().is_empty() {
            return Err(ScriptError::invalid("script: must not be empty; pass Python source"));
        }
        if self.script.len() > MAX_SCRIPT_BYTES {
            let message = format!(
                "script: {} bytes; at most {MAX_SCRIPT_BYTES} are allowed",
                self.script.len()
            );
            return Err(ScriptError::invalid(message));
        }
        let input = self.input_text().unwrap_or_default();
        if input.len() > MAX_INPUT_BYTES {
            let message = format!(
                "input_data: {} bytes of text; at most {MAX_INPUT_BYTES} are allowed",
                input.len()
            );
            return Err(ScriptError::invalid(message));
        }
        if !(1..=MAX_TIMEOUT_SECONDS).contains(&self.timeout_seconds) {
            let message = format!(
                "timeout_seconds: {}; allowed is 1 to {MAX_TIMEOUT_SECONDS}",
                self.timeout_seconds
            );
            return Err(ScriptError::invalid(message));
        }
        Requirements::parse(&self.pip_packages).map(drop)
    }
}

impl OutputFile {
    /// Number of bytes of its content.
    pub fn size(&self) -> usize {
        let padding = self.data.bytes().rev().take_while(|letter| *letter == b'=').count();
        // Four letters of base64 are three bytes.
        (self.data.len() / 4 * 3).saturating_sub(padding)
    }
}

impl ScriptError {
    /// A malformed or out-of-bounds request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ScriptErrorCode::InvalidRequest, message)
    }

    /// An error after which asking again is pointless, or may run the script twice.
    pub fn new(code: ScriptErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: false,
            retry_after_seconds: None,
        }
    }

    /// The same error, after which asking again cannot run the script twice.
    #[must_use]
    pub fn retryable(mut self, after_seconds: Option<u64>) -> Self {
        self.retryable = true;
        self.retry_after_seconds = after_seconds;
        self
    }
}

impl From<ErrorBody> for ScriptError {
    fn from(ErrorBody { error }: ErrorBody) -> Self {
        Self {
            code: error.code,
            message: error.message,
            retryable: error.retryable,
            retry_after_seconds: None,
        }
    }
}

impl ScriptErrorCode {
    /// HTTP status that carries this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::PackagesRefused => 422,
            Self::Overloaded => 429,
            Self::PackageIndexUnavailable => 503,
            Self::SandboxUnavailable | Self::ResultUnread => 503,
            Self::SandboxLost => 502,
            Self::Internal => 500,
        }
    }
}

fn default_timeout() -> u32 {
    DEFAULT_TIMEOUT_SECONDS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn input_reaches_the_script_as_the_text_that_was_sent() {
        for (json, expected) in [
            (r#"{"script":"x"}"#, None),
            (r#"{"script":"x","input_data":null}"#, None),
            (r#"{"script":"x","input_data":"a\nb"}"#, Some("a\nb")),
            (r#"{"script":"x","input_data":"a\u0000b"}"#, Some("a\0b")),
            (
                r#"{"script":"x","input_data":{"b": 1, "a": [true]}}"#,
                Some(r#"{"b": 1, "a": [true]}"#),
            ),
            (
                r#"{"script":"x","input_data":12345678901234567890123}"#,
                Some("12345678901234567890123"),
            ),
        ] {
            assert_eq!(
                ScriptRequest::from_body(json.as_bytes())
                    .unwrap()
                    .input_text()
                    .as_deref(),
                expected,
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, expected) in [
            ("", "the body"),
            ("[]", "the body"),
            (r#"{"script":"x","scripts":1}"#, "scripts"),
            (r#"{"script":7}"#, "string"),
            (r#"{"script":" "}"#, "script: must not be empty"),
            (r#"{"script":"x","timeout_seconds":0}"#, "timeout_seconds"),
            (r#"{"script":"x","pip_packages":"numpy"}"#, "pip_packages"),
            (r#"{"script":"x","pip_packages":["a b"]}"#, "pip_packages[0]"),
            (r#"{"script":"x","input_data":{"a":}}"#, "the body"),
        ] {
            let error = ScriptRequest::from_body(json.as_bytes()).unwrap_err();
            assert!(
                error.message.contains(expected) && error.code == ScriptErrorCode::InvalidRequest,
                "{json}: {error}"
            );
        }
        let many = json!({ "script": "x", "pip_packages": vec![""; MAX_PACKAGES_TEXT] });
        assert!(
            ScriptRequest::from_body(many.to_string().as_bytes())
                .unwrap_err()
                .message
                .contains("at most")
        );
    }
}
