//! The answer as `text/event-stream`: what the script writes while it runs, then its result or an error.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt, stream};
use rockbot_scripts_api::{OutputChunk, OutputStream, ScriptResult};
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Origin,
    refusal::{self, Refusal},
};
use crate::replay::Outcome;

/// Pieces of output that wait for a client. A client that is slower slows its script down.
pub(super) const CHUNKS: usize = 16;
/// The status waits so long for the first thing to say, so that what fails early has a status of its own.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Pending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Whether a client asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// A script's output while it comes, and its end.
struct Progress {
    chunks: mpsc::Receiver<OutputChunk>,
    outcome: Option<Pending>,
    end: Option<Outcome>,
}

enum News {
    Chunk(OutputChunk),
    End(Outcome),
}

/// Answers as soon as there is something to say.
pub(super) async fn respond(
    chunks: mpsc::Receiver<OutputChunk>,
    outcome: Pending,
    origin: Origin,
) -> Result<Response, Refusal> {
    let mut progress = Progress {
        chunks,
        outcome: Some(outcome),
        end: None,
    };
    let first = match timeout(FIRST_WORD, progress.next()).await {
        Ok(Some(News::End(Err(error)))) => return Err(error.into()),
        Ok(first) => first,
        Err(_) => None,
    };
    let events = stream::iter(first)
        .chain(progress.into_stream())
        .flat_map(move |news| stream::iter(events(news, origin)).map(Ok::<_, Infallible>));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

impl Progress {
    /// What is to be told next. Nothing is lost when this is dropped before.
    async fn next(&mut self) -> Option<News> {
        if let Some(outcome) = &mut self.outcome {
            tokio::select! {
                biased;
                Some(chunk) = self.chunks.recv() => return Some(News::Chunk(chunk)),
                end = outcome => {
                    self.outcome = None;
                    self.end = Some(end);
                }
            }
        }
        // The end may have come in the same moment as the last output.
        match self.chunks.try_recv() {
            Ok(chunk) => Some(News::Chunk(chunk)),
            Err(_) => self.end.take().map(News::End),
        }
    }

    fn into_stream(self) -> impl Stream<Item = News> + Send {
        stream::unfold(self, async |mut progress| {
            let news = progress.next().await?;
            Some((news, progress))
        })
    }
}

fn events(news: News, origin: Origin) -> Vec<Event> {
    match news {
        News::Chunk(chunk) => vec![output(&chunk)],
        News::End(Ok(result)) => {
            // Nothing of an earlier request's output was told here.
            let mut events = match origin {
                Origin::Own => Vec::new(),
                Origin::Earlier => outputs(&result),
            };
            events.push(event("result", &*result));
            events
        }
        News::End(Err(error)) => vec![event("error", &refusal::body(&error))],
    }
}

fn outputs(result: &ScriptResult) -> Vec<Event> {
    [
        (OutputStream::Stdout, &result.stdout),
        (OutputStream::Stderr, &result.stderr),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(stream, text)| {
        output(&OutputChunk {
            stream,
            text: text.clone(),
        })
    })
    .collect()
}

fn output(chunk: &OutputChunk) -> Event {
    let name = match chunk.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    event(name, chunk)
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    // Text and numbers alone: they always become JSON.
    event.json_data(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::to_bytes;
    use rockbot_scripts_api::{ScriptError, ScriptErrorCode};

    use super::*;

    fn result() -> Outcome {
        Ok(Arc::new(ScriptResult {
            stdout: "one\ntwo".into(),
            script_id: "script-1".into(),
            ..ScriptResult::default()
        }))
    }

    async fn text(chunks: Vec<OutputChunk>, outcome: Outcome, origin: Origin) -> Result<String, Refusal> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let run = async move {
            for chunk in chunks {
                sender.send(chunk).await.unwrap();
            }
            outcome
        };
        let response = respond(receiver, Box::pin(run), origin).await?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    fn chunk(stream: OutputStream, text: &str) -> OutputChunk {
        let text = text.into();
        OutputChunk { stream, text }
    }

    #[tokio::test]
    async fn output_comes_as_it_is_written_and_then_the_result() {
        let chunks = vec![chunk(OutputStream::Stdout, "one\n"), chunk(OutputStream::Stderr, "é")];
        let seen = text(chunks, result(), Origin::Own).await.unwrap();
        let expected = "event: stdout\ndata: {\"text\":\"one\\n\"}\n\nevent: stderr\ndata: {\"text\":\"é\"}\n\n\
                        event: result\ndata: {\"stdout\":\"one\\ntwo\"";
        assert!(
            seen.starts_with(expected) && seen.ends_with("\"script_id\":\"script-1\"}\n\n"),
            "{seen}"
        );
    }

    #[tokio::test]
    async fn a_result_of_an_earlier_request_brings_its_output_with_it() {
        let seen = text(Vec::new(), result(), Origin::Earlier).await.unwrap();
        assert!(
            seen.starts_with("event: stdout\ndata: {\"text\":\"one\\ntwo\"}\n\nevent: result\n"),
            "{seen}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_error_is_a_status_and_a_late_one_an_event() {
        let error = || ScriptError::new(ScriptErrorCode::SandboxLost, "evicted");
        assert!(text(Vec::new(), Err(error()), Origin::Own).await.is_err());
        let chunks = vec![chunk(OutputStream::Stdout, "1")];
        let seen = text(chunks, Err(error()), Origin::Own).await.unwrap();
        let expected = "event: error\ndata: {\"error\":{\"code\":\"sandbox_lost\",\"message\":\"evicted\",\"retryable\":false}}\n\n";
        assert!(seen.ends_with(expected), "{seen}");
        let (_sender, receiver) = mpsc::channel(CHUNKS);
        let waiting = respond(receiver, Box::pin(std::future::pending()), Origin::Own).await;
        assert!(waiting.is_ok(), "a client knows that its request arrived");
    }

    #[test]
    fn a_stream_is_for_who_asks_for_it() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("*/*", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(is_wanted(&headers), expected, "{accept}");
        }
    }
}
