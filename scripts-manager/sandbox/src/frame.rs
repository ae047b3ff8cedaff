//! Frames between a manager and a supervisor: a big-endian length of four bytes, a type of one, the payload.
//!
//! Only the supervisor writes to its stdout, so a script cannot forge one; still nothing here trusts a byte: lengths are
//! bounded, and what does not parse is an error.

use bytes::{Buf, Bytes, BytesMut};
use rockbot_scripts_api::ScriptRequest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest payload that a supervisor may send. It relays output in pieces of at most 64 KiB.
pub const MAX_PAYLOAD: usize = 128 << 10;

const HEADER: usize = 5;

const HELLO: u8 = 0x01;
const RUN: u8 = 0x02;
const ACK: u8 = 0x03;
const READY: u8 = 0x81;
const REFUSED: u8 = 0x82;
const STDOUT: u8 = 0x83;
const STDERR: u8 = 0x84;
const EXIT: u8 = 0x85;

/// What a supervisor is told.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// Somebody is attached: say whether you are ready.
    Hello,
    /// Run this script.
    Run(&'a Run),
    /// The end was received: go.
    Ack,
}

/// One script to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Python source.
    pub script: String,
    /// Value of `ROCKBOT_INPUT`.
    pub input: Option<String>,
    /// Time after which the script is killed.
    pub timeout_ms: u64,
    /// Output that is relayed, both streams together.
    pub max_output_bytes: u64,
}

/// What a supervisor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// All walls hold, and a script may come.
    Ready(Ready),
    /// A wall is missing; nothing will be run.
    Refused {
        /// Which.
        reason: String,
    },
    /// The script wrote this to standard output.
    Stdout(Bytes),
    /// The script wrote this to standard error.
    Stderr(Bytes),
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

impl Run {
    /// What a supervisor is told about a request, which is valid.
    pub fn new(request: &ScriptRequest, max_output_bytes: u64) -> Self {
        Self {
            script: request.script.clone(),
            input: request.input_text(),
            timeout_ms: u64::from(request.timeout_seconds) * 1000,
            max_output_bytes,
        }
    }
}

impl Message<'_> {
    /// The bytes of this message.
    ///
    /// # Errors
    /// When the payload cannot be written as JSON.
    pub fn encode(self) -> Result<Bytes, serde_json::Error> {
        let mut bytes = vec![0; HEADER];
        bytes[HEADER - 1] = match self {
            Self::Hello => HELLO,
            Self::Run(run) => {
                serde_json::to_writer(&mut bytes, run)?;
                RUN
            }
            Self::Ack => ACK,
        };
        let length = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX);
        bytes[..HEADER - 1].copy_from_slice(&length.to_be_bytes());
        Ok(bytes.into())
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
        if !(READY..=EXIT).contains(&kind) {
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
    Ok(match kind {
        READY => Frame::Ready(serde_json::from_slice(&payload)?),
        REFUSED => Frame::Refused {
            reason: serde_json::from_slice::<Refused>(&payload)?.reason,
        },
        STDOUT => Frame::Stdout(payload),
        STDERR => Frame::Stderr(payload),
        _ => Frame::Exit(serde_json::from_slice(&payload)?),
    })
}
