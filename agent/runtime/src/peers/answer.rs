//! The answer of another agent: a stream of chat completion chunks, put together to one result.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::StreamExt;
use reqwest::Response;
use rockbot_llm::Usage;
use serde::Deserialize;
use serde_json::Value;
use sse_stream::SseByteStream;
use thiserror::Error;
use tokio::time::timeout;

use crate::{outbound, skills::HandoffResult};

/// Longest silence: an agent that works sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest answer, and longest event of one.
const MAX_ANSWER: usize = 1 << 20;

/// Why nothing more comes of an answer.
#[derive(Debug, Error)]
enum Broken {
    #[error(transparent)]
    Connection(reqwest::Error),
    #[error("its answer has an event that is longer than {MAX_ANSWER} bytes")]
    Endless,
}

/// The answer so far.
#[derive(Default)]
struct Answer {
    text: String,
    finish_reason: Option<String>,
    usage: Option<Usage>,
    /// What the other agent waits for, when a human is to go on.
    handoff: Option<Value>,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    handoff: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

/// Reads an answer to its end.
///
/// # Errors
/// In words, when it breaks off or is none.
pub(super) async fn read(response: Response) -> Result<HandoffResult, String> {
    // Nothing but this bounds the length of a line.
    let unread = AtomicUsize::new(0);
    let bytes = response.bytes_stream().map(|piece| {
        let piece = piece.map_err(Broken::Connection)?;
        let unread = unread.fetch_add(piece.len(), Ordering::Relaxed) + piece.len();
        if unread > MAX_ANSWER {
            Err(Broken::Endless)
        } else {
            Ok(piece)
        }
    });
    let mut events = pin!(SseByteStream::new(bytes));
    let mut answer = Answer::default();
    loop {
        let event = timeout(SILENCE, events.next())
            .await
            .map_err(|_| format!("it said nothing for {} s", SILENCE.as_secs()))?;
        match event {
            Some(Ok(event)) => {
                unread.store(0, Ordering::Relaxed);
                let data = event.data.unwrap_or_default();
                if data.trim() == "[DONE]" {
                    return answer.into_result();
                }
                if !data.is_empty() {
                    answer.add(&data)?;
                }
            }
            Some(Err(sse_stream::Error::Body(error))) => {
                return Err(match error.downcast() {
                    Ok(broken) => match *broken {
                        Broken::Connection(error) => outbound::cause(error),
                        endless @ Broken::Endless => endless.to_string(),
                    },
                    Err(error) => error.to_string(),
                });
            }
            Some(Err(error)) => return Err(format!("its answer cannot be read: {error}")),
            None => return Err("its answer broke off".to_owned()),
        }
    }
}

impl Answer {
    fn add(&mut self, data: &str) -> Result<(), String> {
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| format!("its answer cannot be read: {error}"))?;
        if let Some(error) = chunk.error {
            return Err(format!("it failed: {}", error.message));
        }
        for Choice { delta, finish_reason } in chunk.choices {
            self.text.push_str(&delta.content.unwrap_or_default());
            self.finish_reason = finish_reason.or(self.finish_reason.take());
            self.handoff = delta.handoff.or(self.handoff.take());
        }
        if self.text.len() > MAX_ANSWER {
            return Err(format!("its answer is longer than {MAX_ANSWER} bytes"));
        }
        self.usage = chunk.usage.or(self.usage.take());
        Ok(())
    }

    /// What it cost is in the other agent's books already; here it is for whoever wants to know.
    fn into_result(self) -> Result<HandoffResult, String> {
        let reason = self.finish_reason.ok_or("its answer broke off")?;
        let mut result = HandoffResult::done(self.text).with("finish_reason", reason);
        for (key, value) in [
            ("usage", self.usage.and_then(|usage| serde_json::to_value(usage).ok())),
            ("handoff", self.handoff),
        ] {
            result = match value {
                Some(value) => result.with(key, value),
                None => result,
            };
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn an_event_without_end_is_not_waited_for() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let talking = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Nobody is answered before they have asked.
            stream.read_u8().await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ";
            stream.write_all(head).await.unwrap();
            while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let reading = async { read(http.get(url).send().await.unwrap()).await };
        let error = timeout(SILENCE, reading).await.unwrap().unwrap_err();
        assert!(error.contains("an event that is longer than 1048576 bytes"), "{error}");
        timeout(SILENCE, talking).await.unwrap().unwrap();
    }
}
