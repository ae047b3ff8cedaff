//! From the data of one server-sent event to [`Event`]s.

use std::{collections::VecDeque, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{refusal, thoughts::Place};
use crate::{
    Event, ModelError, ToolCallDelta, Usage,
    chat::Content,
    refusal::{Meaning, Refusal},
    wire::{self, null_is_default},
};

/// Reads the chunks of one answer.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    calls: Calls,
    /// What is known of who answers: most servers say it again with every chunk.
    origin: Map<String, Value>,
    /// Whether the model has thought, and it is known where its server says that.
    has_thought: bool,
    finished: bool,
    done: bool,
}

impl wire::Decode for Decoder {
    fn read(&mut self, data: &str, events: &mut VecDeque<Event>) -> Result<(), ModelError> {
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| wire::garbage(&error))?;
        if let Some(error) = chunk.error {
            return Err(mid_stream(&error));
        }
        events.extend(self.origin([
            ("service_tier", chunk.service_tier),
            ("system_fingerprint", chunk.system_fingerprint),
        ]));
        let mut choices = chunk.choices.into_iter();
        let read = choices.try_for_each(|choice| self.choice(choice, events));
        // Also what has led to an error has its price.
        events.extend(chunk.usage.map(Event::Usage));
        read
    }

    fn is_done(&self) -> bool {
        self.done
    }

    /// Some servers leave out `[DONE]`, but none the reason of the end.
    fn end(&mut self, _: &mut VecDeque<Event>) -> Result<(), ModelError> {
        if self.finished { Ok(()) } else { Err(wire::cut()) }
    }
}

impl Decoder {
    /// What is new of `fields`.
    fn origin(&mut self, fields: [(&str, Option<String>); 2]) -> Option<Event> {
        let told = fields.into_iter().filter_map(|(name, text)| Some((name, text?)));
        let unknown = |(name, text): &(&str, String)| self.origin.get(*name).is_none_or(|known| known != text);
        let new: Map<_, _> = told
            .filter(unknown)
            .map(|(name, text)| (name.to_owned(), text.into()))
            .collect();
        self.origin.extend(new.clone());
        (!new.is_empty()).then_some(Event::Origin(new))
    }

    fn choice(&mut self, choice: Choice, events: &mut VecDeque<Event>) -> Result<(), ModelError> {
        if let Some(error) = choice.error {
            return Err(mid_stream(&error));
        }
        let delta = choice.delta.unwrap_or_default();
        events.extend(delta.role.map(Event::Role));
        if let Some(thought) = delta.thought {
            self.think(thought, events);
        }
        match delta.content {
            None => {}
            Some(Content::Text(text)) => say(text, events),
            Some(Content::Parts(parts)) => parts.into_iter().for_each(|part| self.part(part, events)),
        }
        for call in delta.tool_calls.into_iter().flatten() {
            events.push_back(Event::ToolCall(self.calls.place(call)));
        }
        events.extend(choice.logprobs.map(Event::Logprobs));
        if !delta.extra.is_empty() {
            events.push_back(Event::Extra(delta.extra));
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            let reason = finish(&reason)?;
            self.finished = true;
            events.push_back(Event::Finish(reason.to_owned()));
        }
        Ok(())
    }

    fn think(&mut self, (place, text): (Place, String), events: &mut VecDeque<Event>) {
        events.push_back(Event::Reasoning(text));
        if !std::mem::replace(&mut self.has_thought, true) {
            events.extend(place.mark());
        }
    }

    /// One part of a content that is a list, as Mistral has it when a model thinks.
    fn part(&mut self, part: Value, events: &mut VecDeque<Event>) {
        match part["type"].as_str() {
            Some("text") => say(text(&part["text"]), events),
            Some("thinking") => {
                let thought = thought(Place::Content, Some(text(&part["thinking"])));
                thought.into_iter().for_each(|thought| self.think(thought, events));
            }
            _ => {
                let parts = Value::Array(vec![part]);
                events.push_back(Event::Extra(Map::from_iter([("content_blocks".to_owned(), parts)])));
            }
        }
    }
}

fn say(text: String, events: &mut VecDeque<Event>) {
    if !text.is_empty() {
        events.push_back(Event::Content(text));
    }
}

/// A text, or parts with texts.
fn text(value: &Value) -> String {
    let parts = value.as_array().into_iter().flatten();
    let texts = parts.filter_map(|part| part["text"].as_str());
    value.as_str().into_iter().chain(texts).collect()
}

/// The reason in OpenAI's words, of which servers have many more.
fn finish(reason: &str) -> Result<&'static str, ModelError> {
    Ok(match reason {
        "length" | "model_length" | "max_tokens" => "length",
        "tool_calls" | "function_call" => "tool_calls",
        // Google adds why.
        _ if reason.starts_with("content_filter") => "content_filter",
        "error" | "abort" | "insufficient_system_resource" => {
            return Err(Refusal::new("", Some(Meaning::Overloaded)).into_error(None));
        }
        _ => "stop",
    })
}

/// An error in place of a chunk. Some servers put the status that it would have had into its code.
fn mid_stream(error: &Value) -> ModelError {
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let status = status.and_then(|code| reqwest::StatusCode::from_u16(code).ok());
    let mut refusal = refusal(error);
    if status.is_none() {
        refusal.meaning.get_or_insert(Meaning::Overloaded);
    }
    refusal.into_error(status)
}

/// Numbers the calls of an answer from 0, also where a server sends no index or the same for all.
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
            extra: delta.extra,
        }
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default, deserialize_with = "null_is_default")]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    system_fingerprint: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Map<String, Value>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Default)]
struct Delta {
    role: Option<String>,
    content: Option<Content>,
    /// What the model thinks. Servers that say it in two fields say the same in both.
    thought: Option<(Place, String)>,
    tool_calls: Option<Vec<CallDelta>>,
    /// Every other field that is not null, as it came.
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    /// Said again by RockBot: all that it knows are functions.
    #[serde(default, rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    function: Option<FunctionDelta>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

fn thought(place: Place, text: Option<String>) -> Option<(Place, String)> {
    text.filter(|text| !text.is_empty()).map(|text| (place, text))
}

/// By hand, because there is one in every chunk: a derived `flatten` would read all of it into a tree first.
impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Delta;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a delta")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Delta, M::Error> {
                let mut delta = Delta::default();
                while let Some(name) = fields.next_key::<Name>()? {
                    match name {
                        Name::Role => delta.role = fields.next_value()?,
                        Name::Content => delta.content = fields.next_value()?,
                        Name::ReasoningContent => {
                            let thought = thought(Place::ReasoningContent, fields.next_value()?);
                            delta.thought = thought.or(delta.thought);
                        }
                        Name::Reasoning => {
                            let thought = thought(Place::Reasoning, fields.next_value()?);
                            delta.thought = delta.thought.or(thought);
                        }
                        Name::ToolCalls => delta.tool_calls = fields.next_value()?,
                        Name::Other(name) => match fields.next_value()? {
                            Value::Null => {}
                            value => drop(delta.extra.insert(name, value)),
                        },
                    }
                }
                Ok(delta)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Role,
    Content,
    Reasoning,
    ReasoningContent,
    ToolCalls,
    #[serde(untagged)]
    Other(String),
}
