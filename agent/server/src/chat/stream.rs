//! An answer as a stream of server-sent events, exactly as OpenAI's SDKs expect it.
//!
//! The first chunk says who speaks, all chunks share id, time and model, `[DONE]` ends the stream, also after an error.

use axum::response::{Response, sse::Event};
use futures::{Stream, StreamExt, stream};
use rockbot_agent::{TurnError, TurnEvent, turn::Delta};
use rockbot_http::with_json;
use rockbot_llm::Usage;

use super::wire::{Chunk, ChunkChoice, ChunkDelta, Head, ToolEvent};
use crate::{error::ApiError, record::Record, sse};

/// What the client asks for besides the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// A last chunk with the usage.
    pub(super) usage: bool,
    /// Chunks that tell of the agent's tools.
    pub(super) tool_events: bool,
}

/// Answers with a stream once the model has accepted the request; until then an error is an ordinary response.
pub(super) async fn answer(
    turn: impl Stream<Item = Result<TurnEvent, TurnError>> + Send + 'static,
    head: Head,
    options: Options,
    mut record: Record,
) -> Result<Response, ApiError> {
    let turn = sse::begin(turn, &mut record).await?;
    let mut writer = Writer { head, options, record };
    let role = ChunkDelta {
        role: Some("assistant"),
        content: Some(String::new()),
        ..ChunkDelta::default()
    };
    let first = writer.choice(role, None);
    let rest = turn
        .map(Some)
        .chain(stream::once(async { None }))
        .flat_map(move |event| {
            let events = match event {
                Some(Ok(event)) => writer.event(event),
                Some(Err(error)) => [Some(writer.error(error)), None],
                None => [Some(Event::default().data("[DONE]")), None],
            };
            stream::iter(events.into_iter().flatten())
        });
    Ok(sse::response(stream::iter([first]).chain(rest)))
}

/// Writes the events of one answer.
struct Writer {
    head: Head,
    options: Options,
    record: Record,
}

impl Writer {
    /// What the client reads of `event`: nothing, one server-sent event, or the two that end an answer.
    fn event(&mut self, event: TurnEvent) -> [Option<Event>; 2] {
        let one = match event {
            TurnEvent::Started => None,
            TurnEvent::Delta(delta) => self.delta(delta),
            TurnEvent::Usage(usage) => {
                self.record.count(&usage);
                None
            }
            TurnEvent::ToolCall(call) => self.tool_event(ToolEvent::call(&call)),
            TurnEvent::ToolResult(result) => self.tool_event(ToolEvent::result(&result)),
            TurnEvent::Finished(reason) => {
                self.record.succeed();
                return [Some(self.choice(ChunkDelta::default(), Some(reason))), self.usage()];
            }
        };
        [one, None]
    }

    /// The response has begun, so the error comes as an event; both SDKs raise it.
    fn error(&mut self, error: TurnError) -> Event {
        let error = ApiError::from(error);
        self.record.fail(&error);
        Event::default().data(error.body().to_string())
    }

    fn delta(&mut self, delta: Delta) -> Option<Event> {
        let empty = ChunkDelta::default();
        let delta = match delta {
            Delta::Content(text) => ChunkDelta {
                content: Some(text),
                ..empty
            },
            Delta::Reasoning(text) => ChunkDelta {
                reasoning_content: Some(text),
                ..empty
            },
            Delta::ToolCall(call) => ChunkDelta {
                tool_calls: Some([call.into()]),
                ..empty
            },
            Delta::Logprobs(logprobs) => {
                return Some(self.one(ChunkChoice {
                    logprobs: Some(logprobs),
                    ..ChunkChoice::default()
                }));
            }
            Delta::Extra(extra) => ChunkDelta { extra, ..empty },
            // It is in every chunk from then on.
            Delta::Origin(fields) => {
                self.head.origin.extend(fields);
                return None;
            }
        };
        Some(self.choice(delta, None))
    }

    fn choice(&self, delta: ChunkDelta, finish_reason: Option<String>) -> Event {
        self.one(ChunkChoice {
            delta,
            finish_reason,
            ..ChunkChoice::default()
        })
    }

    fn one(&self, choice: ChunkChoice) -> Event {
        self.chunk(&[choice], self.options.usage.then_some(None), None)
    }

    fn usage(&self) -> Option<Event> {
        let usage = self.record.usage().filter(|_| self.options.usage)?;
        Some(self.chunk(&[], Some(Some(usage)), None))
    }

    /// Clients that do not know the field see an empty delta.
    fn tool_event(&self, event: ToolEvent<'_>) -> Option<Event> {
        let choices = [ChunkChoice::default()];
        self.options
            .tool_events
            .then(|| self.chunk(&choices, self.options.usage.then_some(None), Some(event)))
    }

    fn chunk(&self, choices: &[ChunkChoice], usage: Option<Option<&Usage>>, rockbot: Option<ToolEvent<'_>>) -> Event {
        let Head {
            id,
            created,
            model,
            origin,
        } = &self.head;
        let object = "chat.completion.chunk";
        let chunk = Chunk {
            id,
            object,
            created: *created,
            model,
            choices,
            usage,
            rockbot,
            origin,
        };
        with_json(Event::default(), &chunk)
    }
}
