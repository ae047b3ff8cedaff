//! One conversation with one supervisor: hello, one script, its end. Whoever opened the streams sets the deadlines.

use rockbot_scripts_api::ScriptResult;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Decoder, Exit, Frame, FrameError, Message, Ready, Run};

/// Version of the frames.
const PROTOCOL: u32 = 1;

/// A supervisor that said it is ready for its one script.
#[derive(Debug)]
pub struct Conversation<R, W> {
    reader: R,
    writer: W,
    decoder: Decoder,
    ready: Ready,
}

/// Why a conversation ended early.
#[derive(Debug, Error)]
pub enum ConversationError {
    /// The supervisor is gone.
    #[error("the sandbox ended without a word")]
    Closed,
    /// The supervisor found a wall missing.
    #[error("the sandbox refuses to run scripts: {reason}")]
    Refused {
        /// Which wall.
        reason: String,
    },
    /// A frame of another version or out of order.
    #[error("the sandbox speaks another protocol")]
    OutOfOrder,
    /// Bytes that are not frames.
    #[error("the sandbox sent nonsense: {0}")]
    Frame(#[from] FrameError),
    /// The transport lost a part of the output.
    #[error("a part of the script's output was lost on its way")]
    OutputLost,
    /// Somebody ended the sandbox while the script ran.
    #[error("the sandbox was ended while the script ran: its pod was evicted or deleted")]
    Terminated,
    /// The streams broke.
    #[error("the connection to the sandbox broke: {0}")]
    Io(#[from] std::io::Error),
}

/// What a script wrote and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub exit: Exit,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Conversation<R, W> {
    /// Greets a supervisor and waits until it is ready.
    ///
    /// # Errors
    /// [`ConversationError`]; no script was sent.
    pub async fn open(reader: R, mut writer: W) -> Result<Self, ConversationError> {
        send(&mut writer, Message::Hello).await?;
        let mut conversation = Self {
            reader,
            writer,
            decoder: Decoder::default(),
            ready: Ready::default(),
        };
        match conversation.receive().await? {
            Frame::Ready(ready) if ready.protocol == PROTOCOL => Ok(Self { ready, ..conversation }),
            Frame::Refused { reason } => Err(ConversationError::Refused { reason }),
            _ => Err(ConversationError::OutOfOrder),
        }
    }

    /// What the supervisor said about itself.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Returns when the supervisor can no longer be used. Nothing is lost when this is dropped before.
    pub async fn closed(&mut self) -> ConversationError {
        match self.receive().await {
            Ok(_) => ConversationError::OutOfOrder,
            Err(error) => error,
        }
    }

    /// Has the script run, to its end.
    ///
    /// # Errors
    /// [`ConversationError`]; whether the script ran is not known.
    pub async fn run(&mut self, script: &Run) -> Result<Ending, ConversationError> {
        send(&mut self.writer, Message::Run(script)).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.receive().await? {
                Frame::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                Frame::Stderr(bytes) => stderr.extend_from_slice(&bytes),
                Frame::Exit(exit) if exit.terminated => return Err(ConversationError::Terminated),
                Frame::Exit(exit) => {
                    let complete = (stdout.len() as u64, stderr.len() as u64) == (exit.stdout_bytes, exit.stderr_bytes);
                    let ending = Ending { stdout, stderr, exit };
                    return complete.then_some(ending).ok_or(ConversationError::OutputLost);
                }
                Frame::Ready(_) | Frame::Refused { .. } => return Err(ConversationError::OutOfOrder),
            }
        }
    }

    /// Lets the supervisor go; it waits for that, so that no transport is closed while output is on its way.
    ///
    /// # Errors
    /// When it is gone already.
    pub async fn acknowledge(&mut self) -> Result<(), ConversationError> {
        send(&mut self.writer, Message::Ack).await
    }

    async fn receive(&mut self) -> Result<Frame, ConversationError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(frame);
            }
            if self.reader.read_buf(self.decoder.buffer()).await? == 0 {
                return Err(ConversationError::Closed);
            }
        }
    }
}

impl Ending {
    /// The answer to whoever asked for the script; `script_id` names the sandbox.
    pub fn into_result(self, script_id: String) -> ScriptResult {
        let Self { stdout, stderr, exit } = self;
        ScriptResult {
            exit_code: exit.exit_code(),
            stdout: text(stdout),
            stderr: text(stderr),
            duration_ms: exit.duration_ms,
            timed_out: exit.timed_out,
            truncated: exit.truncated,
            script_id,
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

/// Output as text, without a copy when it is UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, message: Message<'_>) -> Result<(), ConversationError> {
    let bytes = message.encode().map_err(std::io::Error::from)?;
    writer.write_all(&bytes).await?;
    writer.flush().await?;
    Ok(())
}
