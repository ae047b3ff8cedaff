//! From a response body to the stream of events. However the network cuts the bytes, the events are the same.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use reqwest::Response;
use sse_stream::{Sse, SseStream};

use super::{decode::Decoder, refusal};
use crate::{Event, EventStream, ModelError, ModelErrorKind};

/// Longest answer that is read: beyond it a provider is broken, and the agent's memory is not its to fill.
const MAX_ANSWER: usize = 64 << 20;

/// The events in `response`.
pub(super) fn of(response: Response) -> EventStream {
    decode(response.bytes_stream().map_err(refusal::transport_in_stream)).boxed()
}

/// The events in `bytes`; ends after the first error.
pub(super) fn decode<S>(bytes: S) -> impl Stream<Item = Result<Event, ModelError>> + Send
where
    S: Stream<Item = Result<Bytes, ModelError>> + Send + 'static,
{
    let bytes = bytes.scan(0, |read, bytes| {
        let bytes = bytes.and_then(|bytes| {
            *read += bytes.len();
            if *read > MAX_ANSWER {
                Err(bad(&format!("more than {MAX_ANSWER} bytes")))
            } else {
                Ok(bytes)
            }
        });
        futures::future::ready(Some(bytes))
    });
    let reader = Reader {
        events: SseStream::from_bytes_stream(bytes.boxed()).boxed(),
        decoder: Decoder::default(),
        ready: VecDeque::new(),
    };
    stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|event| (event, reader)))
    })
}

struct Reader {
    events: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    decoder: Decoder,
    ready: VecDeque<Event>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Event>, ModelError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.decoder.is_done() {
                return self.decoder.end().map(|()| None);
            }
            match self.events.next().await {
                Some(Ok(Sse { data: Some(data), .. })) => self.ready.extend(self.decoder.read(&data)?),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(body_error(error)),
                None => return self.decoder.end().map(|()| None),
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
