//! Stdin and stdout of a container, over the WebSocket that Kubernetes calls `attach`.
//!
//! The stream is read and written where a script is waited for: no task of its own wakes up between a script and its bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures::{Sink, SinkExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{AttachParams, Request},
};
use rand::Rng;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf, split},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Each message begins with the number of a channel.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STATUS: u8 = 3;
/// Between two signs of life: load balancers end connections that are silent for a minute. So is one whose other side has not
/// answered by the next: whatever is between them may have dropped it without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Between two attempts to attach to a container that is not known to run: it will in a moment, most likely …
const FIRST_PAUSE: Duration = Duration::from_millis(75);
/// … of so long …
const EAGER: Duration = Duration::from_secs(1);
/// … and after it the pause doubles: its image may have to be pulled first, and the API server and the kubelet have others, too.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);

/// What a parked sandbox says.
pub(crate) type Stdout = ReadHalf<Attachment>;
/// What it hears.
pub(crate) type Stdin = WriteHalf<Attachment>;

/// An attached container. The end of its stdout is the end of this stream; what breaks is an error.
pub(crate) struct Attachment {
    socket: Box<dyn Socket>,
    /// The rest of the latest message.
    unread: Bytes,
    keep_alive: Interval,
    /// Whether anything has come since the latest sign of life was sent.
    heard: bool,
}

/// The pauses between attempts to attach.
pub(crate) struct Pauses {
    begin: Instant,
    pause: Duration,
}

pub(crate) trait Socket:
    Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + Unpin
{
}

impl<S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + Unpin> Socket for S {}

/// Attaches to a container of the pod `name`.
pub(crate) async fn attach(api: &Api<Pod>, name: &str, container: &str) -> kube::Result<(Stdout, Stdin)> {
    let streams = AttachParams::default().container(container).stdin(true).stderr(false);
    let request = Request::new(api.resource_url())
        .attach(name, &streams)
        .map_err(kube::Error::BuildRequest)?;
    let socket = api.clone().into_client().connect(request).await?.into_stream();
    Ok(split(Attachment::over(socket)))
}

impl Pauses {
    /// Attempts begin now.
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// How long to wait now. Sandboxes that were started together do not go on in step.
    pub(crate) fn next(&mut self) -> Duration {
        if self.begin.elapsed() >= EAGER {
            self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        }
        self.pause.mul_f64(rand::rng().random_range(0.8..1.2))
    }
}

impl Attachment {
    pub(crate) fn over(socket: impl Socket + 'static) -> Self {
        let mut keep_alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket: Box::new(socket),
            unread: Bytes::new(),
            keep_alive,
            heard: true,
        }
    }

    /// Whoever reads keeps the connection alive: a parked sandbox is read from all the time.
    fn poll_keep_alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.keep_alive.poll_tick(context).is_ready() {
            if !std::mem::take(&mut self.heard) {
                let silent = format!("nothing has come through it for {KEEP_ALIVE:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, silent));
            }
            if self.socket.poll_ready_unpin(context).is_ready() {
                self.socket
                    .start_send_unpin(Message::Ping(Bytes::new()))
                    .map_err(broken)?;
            }
        }
        match self.socket.poll_flush_unpin(context) {
            Poll::Ready(Err(error)) => Err(broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Attachment {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            let message = match this.socket.poll_next_unpin(context) {
                Poll::Ready(Some(message)) => message.map_err(broken)?,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    this.poll_keep_alive(context)?;
                    return Poll::Pending;
                }
            };
            this.heard = true;
            let Message::Binary(mut bytes) = message else {
                continue;
            };
            match bytes.first() {
                Some(&STDOUT) => {
                    bytes.advance(1);
                    this.unread = bytes;
                }
                // How the container ended; its supervisor has told more than that.
                Some(&STATUS) => return Poll::Ready(Ok(())),
                _ => {}
            }
        }
        let length = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Attachment {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.socket.poll_ready_unpin(context)).map_err(broken)?;
        let mut message = Vec::with_capacity(1 + bytes.len());
        message.push(STDIN);
        message.extend_from_slice(bytes);
        this.socket.start_send_unpin(Message::binary(message)).map_err(broken)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.poll_flush_unpin(context).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.poll_close_unpin(context).map_err(broken)
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        time::{sleep, timeout},
    };
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn t18_attaching_is_tried_often_for_a_moment_and_then_more_and_more_rarely() {
        let (mut pauses, begin) = (Pauses::new(), Instant::now());
        let (mut eager, mut all, mut longest) = (0, 0, Duration::ZERO);
        while begin.elapsed() < Duration::from_secs(120) {
            eager += usize::from(begin.elapsed() < EAGER);
            all += 1;
            let pause = pauses.next();
            assert!(eager < all || pause < Duration::from_millis(100), "{pause:?}");
            longest = longest.max(pause);
            sleep(pause).await;
        }
        assert!((10..20).contains(&eager) && all < 130, "{eager} {all}");
        assert!(
            longest > Duration::from_secs(1) && longest < Duration::from_secs(2),
            "{longest:?}"
        );
    }

    async fn attached() -> (Attachment, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = duplex(1 << 10);
        let client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        (Attachment::over(client), server)
    }

    #[tokio::test(start_paused = true)]
    async fn t18_an_attachment_whose_other_side_answers_stays() {
        let (mut attachment, mut server) = attached().await;
        // Whoever reads answers.
        let answering = tokio::spawn(async move { while server.next().await.is_some() {} });
        let mut byte = [0];
        tokio::select! {
            end = attachment.read(&mut byte) => panic!("{end:?}"),
            () = sleep(100 * KEEP_ALIVE) => {}
        }
        answering.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn t18_an_attachment_whose_other_side_is_silent_ends() {
        let (mut attachment, _server) = attached().await;
        let begin = Instant::now();
        let end = timeout(10 * KEEP_ALIVE, attachment.read(&mut [0u8])).await;
        assert_eq!(end.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed(), 2 * KEEP_ALIVE);
    }
}
