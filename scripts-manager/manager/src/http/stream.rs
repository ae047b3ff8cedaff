//! The answer as `text/event-stream`: what the script writes while it runs, then its result or an error.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt, stream};
use rockbot_http::with_json;
use rockbot_scripts_api::{OutputChunk, OutputStream, ScriptError, ScriptErrorCode};
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    memory::Share,
    refusal::{self, Refusal},
    unread::Unread,
};

/// Pieces of output that wait for a client. One that is slower gets larger pieces.
pub(super) const CHUNKS: usize = 16;
/// The status waits so long for the first thing to say, so that what fails early has a status of its own.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How it ends.
type End = Result<Unread, ScriptError>;

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
    outcome: Option<AbortOnDropHandle<End>>,
    end: Option<End>,
}

/// What a client has been told: how many bytes of each stream.
#[derive(Default)]
struct Told {
    stdout: usize,
    stderr: usize,
    /// Until the stream has ended, its result is in memory.
    share: Option<Share>,
}

enum News {
    Chunk(OutputChunk),
    End(End),
}

/// Answers as soon as there is something to say.
pub(super) async fn respond(
    chunks: mpsc::Receiver<OutputChunk>,
    outcome: impl Future<Output = End> + Send + 'static,
) -> Result<Response, Refusal> {
    // In a task of its own the result is counted when it is there, not when its client reads on. It ends with the answer.
    let outcome = AbortOnDropHandle::new(tokio::spawn(outcome));
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
    let mut told = Told::default();
    let events = stream::iter(first)
        .chain(progress.into_stream())
        .flat_map(move |news| stream::iter(told.events(news)).map(Ok::<_, Infallible>));
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
                    let internal = |error| Err(ScriptError::new(ScriptErrorCode::Internal, format!("{error}")));
                    self.end = Some(end.unwrap_or_else(internal));
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

impl Told {
    fn events(&mut self, news: News) -> Vec<Event> {
        match news {
            News::Chunk(chunk) => {
                *self.of(chunk.stream) += chunk.text.len();
                vec![output(&chunk)]
            }
            News::End(Ok(Unread { result, share })) => {
                self.share = Some(share);
                // What a slow client missed, and all of it when the script ran for an earlier request.
                let mut events = self.rest(OutputStream::Stdout, &result.stdout);
                events.extend(self.rest(OutputStream::Stderr, &result.stderr));
                events.push(event("result", &*result));
                events
            }
            News::End(Err(error)) => vec![event("error", &refusal::body(&error))],
        }
    }

    fn rest(&mut self, stream: OutputStream, text: &str) -> Vec<Event> {
        let rest = text.get(*self.of(stream)..).filter(|rest| !rest.is_empty());
        let chunk = rest.map(|rest| OutputChunk {
            stream,
            text: rest.to_owned(),
        });
        chunk.iter().map(output).collect()
    }

    fn of(&mut self, stream: OutputStream) -> &mut usize {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

fn output(chunk: &OutputChunk) -> Event {
    let name = match chunk.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    event(name, chunk)
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // Text and numbers alone: they always become JSON.
    with_json(Event::default().event(name), data)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::to_bytes;
    use rockbot_scripts_api::{ScriptErrorCode, ScriptResult};

    use super::*;
    use crate::{http::memory::Memory, tests::caller};

    fn result() -> End {
        let result = ScriptResult {
            stdout: "one\ntwo".into(),
            script_id: "script-1".into(),
            ..ScriptResult::default()
        };
        Unread::streamed(Arc::new(result), Arc::new(Memory::default()).share(&caller("a")), true)
    }

    async fn text(chunks: Vec<OutputChunk>, outcome: End) -> Result<String, Refusal> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let run = async move {
            for chunk in chunks {
                sender.send(chunk).await.unwrap();
            }
            outcome
        };
        let response = respond(receiver, run).await?;
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
        let seen = text(chunks, result()).await.unwrap();
        // The rest of it did not come before the end.
        let expected = "event: stdout\ndata: {\"text\":\"one\\n\"}\n\nevent: stderr\ndata: {\"text\":\"é\"}\n\n\
                        event: stdout\ndata: {\"text\":\"two\"}\n\nevent: result\ndata: {\"stdout\":\"one\\ntwo\"";
        assert!(
            seen.starts_with(expected) && seen.ends_with("\"script_id\":\"script-1\"}\n\n"),
            "{seen}"
        );
    }

    #[tokio::test]
    async fn a_result_of_an_earlier_request_brings_its_output_with_it() {
        let seen = text(Vec::new(), result()).await.unwrap();
        assert!(
            seen.starts_with("event: stdout\ndata: {\"text\":\"one\\ntwo\"}\n\nevent: result\n"),
            "{seen}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_error_is_a_status_and_a_late_one_an_event() {
        let error = || ScriptError::new(ScriptErrorCode::SandboxLost, "evicted");
        assert!(text(Vec::new(), Err(error())).await.is_err());
        let chunks = vec![chunk(OutputStream::Stdout, "1")];
        let seen = text(chunks, Err(error())).await.unwrap();
        let expected = "event: error\ndata: {\"error\":{\"code\":\"sandbox_lost\",\"message\":\"evicted\",\"retryable\":false}}\n\n";
        assert!(seen.ends_with(expected), "{seen}");
        let (_sender, receiver) = mpsc::channel(CHUNKS);
        let waiting = respond(receiver, std::future::pending()).await;
        assert!(waiting.is_ok(), "a client knows that its request arrived");
    }

    #[tokio::test]
    async fn t18_a_result_is_counted_although_its_client_does_not_read() {
        let (memory, caller) = (Arc::new(Memory::of(2000)), caller("a"));
        let (sender, receiver) = mpsc::channel(CHUNKS);
        sender.send(chunk(OutputStream::Stdout, "1")).await.unwrap();
        let share = memory.share(&caller);
        let result = ScriptResult {
            stdout: "x".repeat(300),
            ..ScriptResult::default()
        };
        let response = respond(receiver, async { Unread::streamed(Arc::new(result), share, true) })
            .await
            .unwrap();
        let all = || memory.share(&caller).grow(1000);
        let counted = async {
            while all() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), counted).await.unwrap();
        assert!(
            memory.share(&caller).grow(100),
            "its value, its JSON and the output that waits"
        );
        assert!(!memory.share(&caller).grow(101));
        drop(response);
        assert!(all());
    }

    #[tokio::test]
    async fn t18_a_script_ends_with_the_answer_that_it_runs_for() {
        let (_output, receiver) = mpsc::channel(CHUNKS);
        let (running, mut ended) = mpsc::channel::<()>(1);
        let run = async move {
            let _running = running;
            std::future::pending().await
        };
        drop(respond(receiver, run).await.unwrap());
        assert_eq!(timeout(Duration::from_secs(10), ended.recv()).await, Ok(None));
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
