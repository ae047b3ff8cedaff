//! One conversation with one supervisor: hello, packages, one script, its end. Whoever opened the streams sets the
//! deadlines.

use bytes::BytesMut;
use rockbot_scripts_api::OutputStream;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    select,
};

use crate::{
    Decoder, Ending, Frame, FrameError, Hello, LayerDone, Message, Ready, Run, ending::EndingError, relay::Relay,
};

/// Version of the frames.
const PROTOCOL: u32 = 2;
/// Longest piece of a message that travels in pieces.
const PIECE: usize = 60 << 10;

/// A supervisor that said it is ready for its one script.
#[derive(Debug)]
pub struct Conversation<R, W> {
    reader: R,
    writer: W,
    decoder: Decoder,
    ready: Ready,
    /// What the script has written so far.
    ending: Ending,
}

/// Why a conversation ended early.
#[derive(Debug, Error)]
pub enum ConversationError {
    /// The supervisor is gone.
    #[error("the sandbox ended without a word")]
    Closed,
    /// The supervisor found a wall missing, or packages that it does not take.
    #[error("the sandbox refuses to run scripts: {reason}")]
    Refused {
        /// Which wall, or what is wrong with the packages.
        reason: String,
    },
    /// A frame of another version or out of order.
    #[error("the sandbox speaks another protocol")]
    OutOfOrder,
    /// Bytes that are not frames.
    #[error("the sandbox sent nonsense: {0}")]
    Frame(#[from] FrameError),
    /// An end that is not what the sandbox was asked for, or not complete.
    #[error(transparent)]
    Ending(#[from] EndingError),
    /// Somebody ended the sandbox while the script ran.
    #[error("the sandbox was ended while the script ran: its pod was evicted or deleted")]
    Terminated,
    /// The packages' archive cannot be read on our side.
    #[error("the packages cannot be read: {0}")]
    Layer(#[source] std::io::Error),
    /// The streams broke.
    #[error("the connection to the sandbox broke: {0}")]
    Io(#[from] std::io::Error),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Conversation<R, W> {
    /// Greets a supervisor and waits until it is ready.
    ///
    /// # Errors
    /// [`ConversationError`]; no script was sent.
    pub async fn open(reader: R, writer: W, hello: Hello) -> Result<Self, ConversationError> {
        let mut conversation = Self {
            reader,
            writer,
            decoder: Decoder::default(),
            ready: Ready::default(),
            ending: Ending::default(),
        };
        conversation.send(Message::Hello(hello)).await?;
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

    /// Has packages unpacked, for the script to import: a gzip'd tar of regular files and directories.
    ///
    /// # Errors
    /// [`ConversationError`]; the sandbox is good for nothing any more.
    pub async fn install(&mut self, mut layer: impl AsyncRead + Unpin) -> Result<LayerDone, ConversationError> {
        let mut piece = vec![0; PIECE];
        loop {
            let length = layer.read(&mut piece).await.map_err(ConversationError::Layer)?;
            self.send(Message::Layer(&piece[..length])).await?;
            if length == 0 {
                break;
            }
        }
        match self.receive().await? {
            Frame::LayerDone(done) => Ok(done),
            Frame::Refused { reason } => Err(ConversationError::Refused { reason }),
            _ => Err(ConversationError::OutOfOrder),
        }
    }

    /// Has the script run, to its end. What it writes goes to `relay` too, while it runs, which has the rest of it after that.
    ///
    /// # Errors
    /// [`ConversationError`]; whether the script ran is not known.
    pub async fn run(&mut self, run: &Run, relay: &mut Relay<'_>) -> Result<Ending, ConversationError> {
        self.send_script(run).await?;
        loop {
            let frame = select! {
                biased;
                frame = self.receive() => frame?,
                () = relay.pass_on_later(), if relay.waits() => continue,
            };
            let ending = &mut self.ending;
            match frame {
                Frame::Stdout(bytes) => {
                    ending.stdout.extend_from_slice(&bytes);
                    relay.pass_on(OutputStream::Stdout, &bytes);
                }
                Frame::Stderr(bytes) => {
                    ending.stderr.extend_from_slice(&bytes);
                    relay.pass_on(OutputStream::Stderr, &bytes);
                }
                Frame::File { name } => ending.begin_file(name)?,
                Frame::FileData(bytes) => ending.continue_file(&bytes)?,
                Frame::Exit(exit) if exit.terminated => return Err(ConversationError::Terminated),
                Frame::Exit(exit) => return Ok(std::mem::take(ending).complete(exit)?),
                Frame::Ready(_) | Frame::Refused { .. } | Frame::LayerDone(_) => {
                    return Err(ConversationError::OutOfOrder);
                }
            }
            ending.check_caps(run)?;
        }
    }

    /// What a script wrote whose end nobody told of: its supervisor was killed with it. The most that is known of it.
    pub fn unfinished(&mut self) -> Ending {
        let Ending { stdout, stderr, .. } = std::mem::take(&mut self.ending);
        Ending {
            stdout,
            stderr,
            ..Ending::default()
        }
    }

    /// Lets the supervisor go; it waits for that, so that no transport is closed while output is on its way.
    ///
    /// # Errors
    /// When it is gone already.
    pub async fn acknowledge(&mut self) -> Result<(), ConversationError> {
        self.send(Message::Ack).await
    }

    /// The input and the script: one write, unless the input is long.
    async fn send_script(&mut self, run: &Run) -> Result<(), ConversationError> {
        let mut bytes = BytesMut::new();
        let mut rest = run.input.as_deref().map(str::as_bytes);
        while let Some(input) = rest {
            let (piece, more) = input.split_at(input.len().min(PIECE));
            Message::Input(piece).encode(&mut bytes)?;
            rest = (!more.is_empty()).then_some(more);
            if rest.is_some() {
                self.writer.write_all(&bytes).await?;
                bytes.clear();
            }
        }
        Message::Run(run).encode(&mut bytes)?;
        self.writer.write_all(&bytes).await?;
        Ok(self.writer.flush().await?)
    }

    async fn send(&mut self, message: Message<'_>) -> Result<(), ConversationError> {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes)?;
        self.writer.write_all(&bytes).await?;
        Ok(self.writer.flush().await?)
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
