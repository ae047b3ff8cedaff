//! One step of a scenario: the answer to one request.

use serde::Deserialize;
use serde_json::{Map, Value};

/// What the provider answers, and how badly.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Text, streamed word by word.
    pub content: Option<String>,
    /// Reasoning, streamed word by word before the text.
    pub reasoning: Option<String>,
    /// Calls, each cut into fragments.
    pub calls: Vec<Call>,
    /// Further fields of a delta of their own; of OpenAI's wire alone.
    pub extra: Map<String, Value>,
    /// Why the answer ends, in the wire's own words; by default what the content implies.
    pub finish_reason: Option<String>,
    /// Refuse the request instead.
    pub error: Option<Refusal>,
    /// Send this body as it is instead.
    pub raw: Option<String>,
    /// Send this object as an event after the content and end the stream, as providers do that fail on the way.
    pub error_event: Option<Value>,
    /// Content-Type of the answer, where it is not a stream of events.
    pub content_type: Option<String>,
    /// Say before each event that the connection lives, where the wire has a word for it: a ping or a comment.
    pub keep_alive: bool,
    /// Milliseconds before the head of the response.
    pub delay_ms: u64,
    /// Milliseconds between that and the first event.
    pub silent_ms: u64,
    /// Milliseconds before each further event.
    pub pause_ms: u64,
    /// Milliseconds of silence in the middle of the answer.
    pub stall_ms: u64,
    /// Send the stream in pieces of so many bytes, wherever that cuts.
    pub piece_bytes: Option<usize>,
    /// Break the connection after so many bytes.
    pub cut_after_bytes: Option<usize>,
    /// Keep quiet about usage although asked for it, as some providers do.
    pub hide_usage: bool,
    /// Tell in every chunk what the answer has cost so far, as others do; of OpenAI's wire alone.
    pub repeat_usage: bool,
    /// Say reasoning in this field in place of `reasoning_content`; of OpenAI's wire alone.
    pub reasoning_field: Option<String>,
    /// Refuse a request that has one of these fields, or a message with one of them; of OpenAI's wire alone.
    pub unsupported: Vec<String>,
}

/// A call that the model makes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Name of the tool.
    pub name: String,
    /// Arguments: a string is sent as it is, anything else as JSON.
    #[serde(default)]
    pub arguments: Value,
    /// Identity; by default made from its position, the same in every answer.
    #[serde(default)]
    pub id: Option<String>,
    /// Further fields, with its first fragment; of OpenAI's wire alone.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// An answer with an error status.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What the error object says; by default it names the status.
    #[serde(default)]
    pub message: Option<String>,
    /// Body in place of the wire's error object.
    #[serde(default)]
    pub body: Option<Value>,
    /// Value of Retry-After.
    #[serde(default)]
    pub retry_after: Option<u32>,
}

impl Step {
    /// Says `text`.
    pub fn say(text: impl Into<String>) -> Self {
        Self {
            content: Some(text.into()),
            ..Self::default()
        }
    }

    /// Makes `calls`.
    pub fn call(calls: impl IntoIterator<Item = Call>) -> Self {
        Self {
            calls: calls.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Refuses with `status`.
    pub fn refuse(status: u16, body: Value, retry_after: Option<u32>) -> Self {
        Self {
            error: Some(Refusal {
                status,
                message: None,
                body: Some(body),
                retry_after,
            }),
            ..Self::default()
        }
    }
}

impl Refusal {
    /// Refuses with `status` and the wire's own error object.
    pub fn new(status: u16, message: &str) -> Self {
        Self {
            status,
            message: Some(message.to_owned()),
            body: None,
            retry_after: None,
        }
    }
}

impl Call {
    /// A call of `name`.
    pub fn new(name: impl Into<String>, arguments: Value) -> Self {
        Self {
            name: name.into(),
            arguments,
            ..Self::default()
        }
    }

    pub(crate) fn arguments_text(&self) -> String {
        match &self.arguments {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}
