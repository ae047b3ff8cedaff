//! From the bytes of a response to the stream of events. However the network cuts the bytes, the events are the same.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, TryStream, task::AtomicWaker};
use reqwest::Response;
use sse_stream::{Sse, SseByteStream};
use tokio::time::{Instant, Sleep};

use super::http;
use crate::{Event, ModelError, ModelErrorKind, wire::Decode};

/// Longest answer that is read: beyond it a provider is broken, and the agent's memory is not its to fill.
const MAX_ANSWER: usize = 64 << 20;
/// Events that are gathered at most before they are handed out.
const BURST: usize = 32;

/// The events of one answer; it ends after the first error.
///
/// What has arrived is handed out together. The connection's task passes bytes on piece by piece, and a consumer that is
/// given one event at a time writes each to its client alone, which costs more than all the rest of its work. So after
/// each piece that task gets its turn, until it has nothing more.
pub(crate) struct Answer<S: TryStream> {
    bytes: SseByteStream<S>,
    decoder: Box<dyn Decode>,
    ready: VecDeque<Event>,
    /// Whether `ready` is being handed out.
    flowing: bool,
    turn: Turn,
    /// How the answer ends, once that is known.
    end: Option<Result<(), ModelError>>,
}

impl<S> Answer<S>
where
    S: Stream<Item = Result<Bytes, ModelError>> + Unpin,
{
    pub(crate) fn new(bytes: S, decoder: Box<dyn Decode>) -> Self {
        Self {
            bytes: SseByteStream::new(bytes),
            decoder,
            ready: VecDeque::new(),
            flowing: false,
            turn: Turn::default(),
            end: None,
        }
    }

    /// Waits until the answer says something: from then on it belongs to the client.
    pub(crate) async fn begin(&mut self) -> Result<(), ModelError> {
        std::future::poll_fn(|context| {
            self.read(context);
            let says = |event: &Event| {
                !matches!(
                    event,
                    Event::Role(_) | Event::Origin(_) | Event::Logprobs(_) | Event::Usage(_)
                )
            };
            match &self.end {
                _ if self.ready.iter().any(says) || self.ready.len() >= BURST => Poll::Ready(Ok(())),
                Some(Err(error)) => Poll::Ready(Err(self.priced(error.clone()))),
                Some(Ok(())) => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// `error` with what the answer has cost, which nobody reads its events for.
    fn priced(&self, mut error: ModelError) -> ModelError {
        error.usage = self.ready.iter().rev().find_map(|event| match event {
            Event::Usage(usage) => Some(Box::new(usage.clone())),
            _ => None,
        });
        error
    }

    /// Takes in what has arrived; whoever polls is woken when more does.
    fn read(&mut self, context: &mut Context<'_>) {
        while self.end.is_none() && self.ready.len() < BURST {
            let Poll::Ready(event) = self.bytes.poll_next_unpin(context) else {
                return;
            };
            let over = match event {
                Some(Ok(Sse { data: Some(data), .. })) => match self.decoder.read(&data, &mut self.ready) {
                    Ok(()) => self.decoder.is_done(),
                    Err(error) => {
                        self.end = Some(Err(error));
                        return;
                    }
                },
                Some(Ok(_)) => false,
                Some(Err(error)) => {
                    self.end = Some(Err(body_error(error)));
                    return;
                }
                None => true,
            };
            if over {
                self.end = Some(self.decoder.end(&mut self.ready));
            }
        }
    }
}

impl<S> Stream for Answer<S>
where
    S: Stream<Item = Result<Bytes, ModelError>> + Unpin,
{
    type Item = Result<Event, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.flowing {
                if let Some(event) = this.ready.pop_front() {
                    return Poll::Ready(Some(Ok(event)));
                }
                if let Some(end) = &mut this.end {
                    return Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err));
                }
                this.flowing = false;
            }
            if this.turn.is_awaited(context) {
                return Poll::Pending;
            }
            let before = this.ready.len();
            if before == 0 {
                this.read(context);
            } else {
                // Whoever polls is woken by the end of this turn, and need not be by each piece before.
                this.read(&mut Context::from_waker(Waker::noop()));
            }
            let open = this.end.is_none() && this.ready.len() < BURST;
            if open && this.ready.len() > before {
                this.turn.give(context);
                return Poll::Pending;
            }
            if open && this.ready.is_empty() {
                return Poll::Pending;
            }
            this.flowing = true;
        }
    }
}

/// A turn of the other tasks. A consumer may poll several times in its own, so that being polled again tells nothing.
#[derive(Default)]
struct Turn {
    awaited: bool,
    over: Arc<Over>,
}

#[derive(Default)]
struct Over {
    yes: AtomicBool,
    task: AtomicWaker,
}

impl Turn {
    /// Lets all others run that can.
    fn give(&mut self, context: &Context<'_>) {
        self.awaited = true;
        self.over.task.register(context.waker());
        let over = Waker::from(Arc::clone(&self.over));
        // Its first poll asks for the waker to be called once they have; there is no second.
        let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&over));
    }

    fn is_awaited(&mut self, context: &Context<'_>) -> bool {
        if self.awaited {
            self.over.task.register(context.waker());
            self.awaited = !self.over.yes.swap(false, Ordering::AcqRel);
        }
        self.awaited
    }
}

impl Wake for Over {
    fn wake(self: Arc<Self>) {
        self.yes.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// The body of a response, with a bound on its length and on its silence.
pub(super) struct Body {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    read: usize,
    idle: Duration,
    last: Instant,
    /// Moved only when it fires: most answers end long before.
    alarm: Pin<Box<Sleep>>,
}

impl Body {
    pub(super) fn new(response: Response, idle: Duration) -> Self {
        Self {
            bytes: Box::pin(response.bytes_stream()),
            read: 0,
            idle,
            last: Instant::now(),
            alarm: Box::pin(tokio::time::sleep(idle)),
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.bytes.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(bytes))) => {
                this.last = Instant::now();
                this.read += bytes.len();
                let fits = this.read <= MAX_ANSWER;
                let bytes = if fits {
                    Ok(bytes)
                } else {
                    Err(bad(&format!("more than {MAX_ANSWER} bytes")))
                };
                Poll::Ready(Some(bytes))
            }
            Poll::Ready(end) => Poll::Ready(end.map(|result| result.map_err(http::broken))),
            Poll::Pending => {
                while this.alarm.poll_unpin(context).is_ready() {
                    let due = this.last + this.idle;
                    if due <= Instant::now() {
                        return Poll::Ready(Some(Err(http::silence())));
                    }
                    this.alarm.as_mut().reset(due);
                }
                Poll::Pending
            }
        }
    }
}

/// Errors of the body pass through the SSE parser; this unpacks them.
fn body_error(error: sse_stream::Error) -> ModelError {
    match error {
        sse_stream::Error::Body(error) => match error.downcast::<ModelError>() {
            Ok(error) => *error,
            Err(error) => bad(&error.to_string()),
        },
        other => bad(&other.to_string()),
    }
}

fn bad(reason: &str) -> ModelError {
    ModelError::new(
        ModelErrorKind::BadResponse,
        format!("the model provider's stream cannot be read: {reason}"),
    )
}
