//! Frames between a manager and a supervisor: a big-endian length of four bytes, a type of one, the payload.
//!
//! Only the supervisor writes to its stdout, so a script cannot forge one; still nothing here trusts a byte: lengths are
//! bounded, and what does not parse is an error.

use std::{borrow::Cow, io, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rockbot_scripts_api::{DroppedFile, ScriptRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Longest payload that a supervisor may send. It relays output and files in pieces of at most 64 KiB.
pub const MAX_PAYLOAD: usize = 128 << 10;
/// Output of one script that is kept, standard output and standard error together.
pub const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// Bytes of files that come back by default, all files together.
pub const MAX_FILES_BYTES: u64 = 4 << 20;
/// Files that a supervisor sends back; it drops the rest and says so.
pub const MAX_FILES: usize = 64;

const HEADER: usize = 5;
/// The signal that the kernel kills with.
const SIGKILL: i32 = 9;

const HELLO: u8 = 0x01;
const RUN: u8 = 0x02;
const ACK: u8 = 0x03;
const INPUT: u8 = 0x04;
const LAYER: u8 = 0x05;
const READY: u8 = 0x81;
const REFUSED: u8 = 0x82;
const STDOUT: u8 = 0x83;
const STDERR: u8 = 0x84;
const EXIT: u8 = 0x85;
const FILE: u8 = 0x86;
const FILE_DATA: u8 = 0x87;
const LAYER_DONE: u8 = 0x88;

/// What a supervisor is told.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// Somebody is attached: say whether you are ready.
    Hello(Hello),
    /// The next piece of the packages' archive; an empty one is the last.
    Layer(&'a [u8]),
    /// The next piece of the script's input. A script without one gets no piece, an empty input is an empty piece.
    Input(&'a [u8]),
    /// Run this script.
    Run(&'a Run),
    /// The end was received: go.
    Ack,
}

/// What a supervisor hears first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// How long after its start the supervisor's canary may take before it counts as blocked. The answer waits for that;
    /// with 0 it comes at once, and tells at most that the canary got through.
    pub canary_ms: u64,
}

/// One script to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Python source.
    pub script: String,
    /// What the script finds in `ROCKBOT_INPUT_FILE`. It travels before the script, in messages of its own.
    #[serde(skip)]
    pub input: Option<String>,
    /// Time after which the script is killed.
    pub timeout_ms: u64,
    /// Output that is relayed, both streams together.
    pub max_output_bytes: u64,
    /// Bytes of the files that come back, all together.
    pub max_files_bytes: u64,
}

/// What a script may hand back; more is dropped and said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of standard output and standard error together.
    pub output_bytes: u64,
    /// Bytes of files, all together.
    pub files_bytes: u64,
}

/// What a supervisor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A script may come.
    Ready(Ready),
    /// A wall is missing or the packages cannot be unpacked; nothing will be run.
    Refused {
        /// Which, or why.
        reason: String,
    },
    /// The packages are in place.
    LayerDone(LayerDone),
    /// The script wrote this to standard output.
    Stdout(Bytes),
    /// The script wrote this to standard error.
    Stderr(Bytes),
    /// The script left a file of this name; its content follows.
    File {
        /// Path below the output directory, with `/` between its parts.
        name: String,
    },
    /// The next piece of the latest file.
    FileData(Bytes),
    /// The script ended, and every process that it started.
    Exit(Exit),
}

/// A supervisor that is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// Version of these frames.
    pub protocol: u32,
    /// Python's version.
    pub python: String,
    /// Walls that it found to hold.
    pub walls: Vec<String>,
    /// Walls that it found missing, and goes without because it was told that it may.
    pub missing: Vec<String>,
    /// What became of its canary.
    pub canary: Canary,
}

/// What became of a supervisor's attempt to reach the canary address, before it walled itself in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Canary {
    /// Something around the sandbox stopped it.
    Blocked,
    /// It got through: only the walls inside the sandbox are there.
    Reached,
    /// There is no canary, or it had no time.
    #[default]
    Unknown,
}

/// Packages that a supervisor has unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LayerDone {
    /// Number of files.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
}

/// How a script ended, from `waitpid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Exit {
    /// Exit status, if it exited.
    pub code: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
    /// Whether the signal was sent because its time was over.
    pub timed_out: bool,
    /// Whether it was killed because the supervisor was told to end: the pod is evicted or deleted.
    pub terminated: bool,
    /// Whether output was dropped.
    pub truncated: bool,
    /// Whether the kernel killed a process because memory ran out. Its own count says so; where that cannot be read, it is
    /// a guess from a `SIGKILL` that the supervisor did not send.
    pub oom_killed: bool,
    /// Wall time.
    pub duration_ms: u64,
    /// CPU time of the script and the processes that it waited for.
    pub cpu_ms: u64,
    /// Peak resident memory.
    pub max_rss_kb: u64,
    /// Bytes of standard output that were relayed: a transport that lost some is found out.
    pub stdout_bytes: u64,
    /// Bytes of standard error that were relayed.
    pub stderr_bytes: u64,
    /// Bytes of files that were sent.
    pub files_bytes: u64,
    /// Files that were not.
    pub files_dropped: Vec<DroppedFile>,
}

/// Bytes that are not frames.
#[derive(Debug, Error)]
pub enum FrameError {
    /// A length beyond [`MAX_PAYLOAD`].
    #[error("a frame of {length} bytes; at most {MAX_PAYLOAD} are allowed")]
    TooLong {
        /// The length in the header.
        length: usize,
    },
    /// A type that no supervisor sends.
    #[error("a frame of the unknown type {kind:#04x}")]
    UnknownType {
        /// The type in the header.
        kind: u8,
    },
    /// A payload that does not parse.
    #[error("a frame of type {kind:#04x} with a malformed payload")]
    Malformed {
        /// The type in the header.
        kind: u8,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Exit {
    /// The end of a script with which everything in its pod was killed because memory ran out: nobody was left to tell more.
    pub fn out_of_memory(duration: Duration) -> Self {
        Self {
            signal: Some(SIGKILL),
            oom_killed: true,
            duration_ms: duration.as_millis().try_into().unwrap_or(u64::MAX),
            ..Self::default()
        }
    }
}

impl Run {
    /// What a supervisor is told about a request, which is valid.
    pub fn new(request: ScriptRequest, caps: Caps) -> Self {
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Self {
            script: request.script,
            input: request.input_data.map(text),
            timeout_ms: u64::from(request.timeout_seconds) * 1000,
            max_output_bytes: caps.output_bytes,
            max_files_bytes: caps.files_bytes,
        }
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            output_bytes: MAX_OUTPUT_BYTES,
            files_bytes: MAX_FILES_BYTES,
        }
    }
}

impl Message<'_> {
    /// Appends the bytes of this message.
    ///
    /// # Errors
    /// When the payload cannot be written as JSON, or is longer than a header can say.
    pub fn encode(self, bytes: &mut BytesMut) -> io::Result<()> {
        let (kind, payload) = match self {
            Self::Hello(hello) => (HELLO, Cow::Owned(serde_json::to_vec(&hello)?)),
            Self::Layer(piece) => (LAYER, Cow::Borrowed(piece)),
            Self::Input(piece) => (INPUT, Cow::Borrowed(piece)),
            Self::Run(run) => (RUN, Cow::Owned(serde_json::to_vec(run)?)),
            Self::Ack => (ACK, Cow::default()),
        };
        bytes.put_u32(u32::try_from(payload.len()).map_err(io::Error::other)?);
        bytes.put_u8(kind);
        bytes.put_slice(&payload);
        Ok(())
    }
}

/// Turns bytes, in whatever pieces they come, into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Where bytes that were received go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next complete frame, if it is here.
    ///
    /// # Errors
    /// [`FrameError`]; what follows cannot be understood any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((&[a, b, c, d, kind], _)) = self.buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong { length });
        }
        if !(READY..=LAYER_DONE).contains(&kind) {
            return Err(FrameError::UnknownType { kind });
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let payload = self.buffer.split_to(length).freeze();
        parse(kind, payload)
            .map(Some)
            .map_err(|source| FrameError::Malformed { kind, source })
    }
}

fn parse(kind: u8, payload: Bytes) -> Result<Frame, serde_json::Error> {
    #[derive(Deserialize)]
    struct Refused {
        reason: String,
    }
    #[derive(Deserialize)]
    struct File {
        name: String,
    }
    Ok(match kind {
        READY => Frame::Ready(serde_json::from_slice(&payload)?),
        REFUSED => Frame::Refused {
            reason: serde_json::from_slice::<Refused>(&payload)?.reason,
        },
        STDOUT => Frame::Stdout(payload),
        STDERR => Frame::Stderr(payload),
        FILE => Frame::File {
            name: serde_json::from_slice::<File>(&payload)?.name,
        },
        FILE_DATA => Frame::FileData(payload),
        EXIT => Frame::Exit(serde_json::from_slice(&payload)?),
        _ => Frame::LayerDone(serde_json::from_slice(&payload)?),
    })
}
