//! Answers as streams of server-sent events, in whatever protocol they are written.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    http::HeaderName,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt};
use rockbot_agent::{TurnError, TurnEvent};

use crate::{error::ApiError, record::Record};

/// How often a comment keeps a silent connection alive, while tools run or a model thinks.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Waits until the model has accepted the request; until then an error is an ordinary response.
pub(crate) async fn begin<T>(turn: T, record: &mut Record) -> Result<Pin<Box<T>>, ApiError>
where
    T: Stream<Item = Result<TurnEvent, TurnError>>,
{
    let mut turn = Box::pin(turn);
    let error = loop {
        match turn.next().await {
            Some(Ok(TurnEvent::Started)) => return Ok(turn),
            // What a model has refused may have its price, too.
            Some(Ok(TurnEvent::Usage(usage))) => record.count(&usage),
            Some(Err(error)) => break error.into(),
            Some(Ok(_)) | None => break ApiError::internal(),
        }
    };
    record.fail(&error);
    Err(error)
}

/// A response that writes `events` as they come.
pub(crate) fn response(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let sse = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Reverse proxies must pass each event on at once.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, sse).into_response()
}
