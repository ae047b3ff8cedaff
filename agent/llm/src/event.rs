//! What a model says while it answers, whatever provider it comes from.

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ModelError;

/// The events of one answer, in order. It ends after the answer is complete or after the first error.
pub type EventStream = BoxStream<'static, Result<Event, ModelError>>;

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Who speaks; `assistant` for every provider known.
    Role(String),
    /// More text of the answer.
    Content(String),
    /// More text of the model's reasoning, which is not part of the answer.
    Reasoning(String),
    /// More of a tool call.
    ToolCall(ToolCallDelta),
    /// Why the answer ends, in OpenAI's words: `stop`, `length`, `tool_calls`, `content_filter`.
    Finish(String),
    /// What the answer cost.
    Usage(Usage),
    /// Fields of a delta that RockBot does not know, as they came.
    Extra(Map<String, Value>),
}

/// A fragment of a tool call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ToolCallDelta {
    /// Which call of the answer it belongs to.
    pub index: u32,
    /// Identity of the call, with its first fragment.
    pub id: Option<String>,
    /// Name of the tool, with its first fragment.
    pub name: Option<String>,
    /// More of the arguments' JSON text.
    pub arguments: String,
}

/// Tokens that answers cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub completion_tokens: u64,
    /// Both.
    #[serde(default)]
    pub total_tokens: u64,
    /// Details that the provider adds, as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Usage {
    /// The usage of an answer without further details.
    pub fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        let total_tokens = prompt_tokens + completion_tokens;
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            extra: Map::new(),
        }
    }

    /// Adds the usage of another round; numbers in the details are added as well.
    pub fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.total_tokens += other.total_tokens;
        add_numbers(&mut self.extra, &other.extra);
    }
}

fn add_numbers(sum: &mut Map<String, Value>, addend: &Map<String, Value>) {
    for (name, value) in addend {
        match (sum.get_mut(name), value) {
            (Some(Value::Object(sum)), Value::Object(addend)) => add_numbers(sum, addend),
            (Some(Value::Number(sum)), Value::Number(addend)) => {
                if let (Some(a), Some(b)) = (sum.as_u64(), addend.as_u64()) {
                    *sum = (a + b).into();
                }
            }
            (Some(Value::Null) | None, value) => drop(sum.insert(name.clone(), value.clone())),
            (Some(_), _) => {}
        }
    }
}
