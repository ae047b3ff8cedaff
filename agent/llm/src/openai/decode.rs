//! From the data of one server-sent event to [`Event`]s. Pure: reads no socket.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::{Refusal, classify};
use crate::{Event, ModelError, ModelErrorKind, ToolCallDelta, Usage};

/// Reads the chunks of one answer.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    calls: Calls,
    finished: bool,
    done: bool,
}

impl Decoder {
    /// The events in the data of one server-sent event.
    pub(super) fn read(&mut self, data: &str) -> Result<Vec<Event>, ModelError> {
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(Vec::new());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| {
            ModelError::new(
                ModelErrorKind::BadResponse,
                format!("the model provider sent no valid chunk: {error}"),
            )
        })?;
        if let Some(error) = chunk.error {
            return Err(mid_stream(&error));
        }
        let mut events = Vec::new();
        for choice in chunk.choices {
            self.choice(choice, &mut events);
        }
        events.extend(chunk.usage.map(Event::Usage));
        Ok(events)
    }

    /// Whether the provider has said that nothing follows.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Checks that the stream may end here. Some providers leave out `[DONE]`, but none the reason of the end.
    pub(super) fn end(&self) -> Result<(), ModelError> {
        if self.finished {
            return Ok(());
        }
        Err(ModelError::new(
            ModelErrorKind::CutStream,
            "the model provider's answer broke off before its end",
        ))
    }

    fn choice(&mut self, choice: Choice, events: &mut Vec<Event>) {
        let mut delta = choice.delta.unwrap_or_default();
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        events.extend(delta.role.map(Event::Role));
        events.extend(text(delta.reasoning_content.or(delta.reasoning)).map(Event::Reasoning));
        events.extend(text(delta.content).map(Event::Content));
        for call in delta.tool_calls.into_iter().flatten() {
            events.push(Event::ToolCall(self.calls.place(call)));
        }
        delta.extra.retain(|_, value| !value.is_null());
        if !delta.extra.is_empty() {
            events.push(Event::Extra(delta.extra));
        }
        if let Some(reason) = choice.finish_reason {
            self.finished = true;
            events.push(Event::Finish(reason));
        }
    }
}

fn mid_stream(error: &Value) -> ModelError {
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let status = status.and_then(|code| reqwest::StatusCode::from_u16(code).ok());
    classify(
        status.unwrap_or(reqwest::StatusCode::INTERNAL_SERVER_ERROR),
        &Refusal::of(error),
    )
}

/// Numbers the calls of an answer from 0, also where a provider sends no index or the same for all.
#[derive(Debug, Default)]
struct Calls {
    seen: Vec<(Option<u32>, Option<String>)>,
}

impl Calls {
    fn place(&mut self, delta: CallDelta) -> ToolCallDelta {
        let id = delta.id.filter(|id| !id.is_empty());
        let known = self.seen.iter().rposition(|(index, known)| {
            (delta.index.is_none() || *index == delta.index) && (id.is_none() || *known == id)
        });
        let position = known.unwrap_or_else(|| {
            self.seen.push((delta.index, id.clone()));
            self.seen.len() - 1
        });
        let function = delta.function.unwrap_or_default();
        ToolCallDelta {
            index: u32::try_from(position).unwrap_or(u32::MAX),
            id,
            name: function.name.filter(|name| !name.is_empty()),
            arguments: function.arguments.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Default, Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}
