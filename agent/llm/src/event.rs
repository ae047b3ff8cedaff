//! What a model says while it answers, whatever provider it comes from.

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::{ModelError, wire::null_is_default};

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
    /// How probable the tokens of the text before it were, as OpenAI has it.
    Logprobs(Map<String, Value>),
    /// Why the answer ends, in OpenAI's words: `stop`, `length`, `tool_calls`, `content_filter`.
    Finish(String),
    /// What the answer has cost so far. Some providers say it once, others again and again: the latest one counts.
    Usage(Usage),
    /// Fields of a delta that RockBot does not know, as they came.
    Extra(Map<String, Value>),
    /// Who has answered: `service_tier` and `system_fingerprint`, where they are new.
    Origin(Map<String, Value>),
}

/// A fragment of a tool call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCallDelta {
    /// Which call of the answer it belongs to.
    pub index: u32,
    /// Identity of the call, with its first fragment.
    pub id: Option<String>,
    /// Name of the tool, with its first fragment.
    pub name: Option<String>,
    /// More of the arguments' JSON text.
    pub arguments: String,
    /// Fields of the call that RockBot does not know, as they came.
    pub extra: Map<String, Value>,
}

/// Tokens that answers cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default, deserialize_with = "null_is_default")]
    pub prompt_tokens: u64,
    /// Tokens written.
    #[serde(default, deserialize_with = "null_is_default")]
    pub completion_tokens: u64,
    /// Both.
    #[serde(default, deserialize_with = "null_is_default")]
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

    /// Adds the usage of another answer; numbers in the details are added as well.
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
                let whole = sum.as_u64().zip(addend.as_u64());
                let total = whole.map(|(a, b)| Number::from(a + b));
                // What it cost in money.
                let total = total.or_else(|| Number::from_f64(sum.as_f64()? + addend.as_f64()?));
                *sum = total.unwrap_or_else(|| sum.clone());
            }
            (Some(Value::Null) | None, value) => drop(sum.insert(name.clone(), value.clone())),
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_rounds_cost_is_added_up_in_tokens_and_in_money() {
        let round = |json| serde_json::from_value::<Usage>(json).unwrap();
        let mut sum = round(json!({ "prompt_tokens": 1, "cost": 0.25, "is_byok": false }));
        let more = json!({ "prompt_tokens": 2, "cost": 0.5, "details": { "cached_tokens": 3, "upstream": null } });
        for _ in 0..2 {
            sum.add(&round(more.clone()));
        }
        assert_eq!(sum.prompt_tokens, 5);
        let extra = json!({ "cost": 1.25, "is_byok": false, "details": { "cached_tokens": 6, "upstream": null } });
        assert_eq!(Value::Object(sum.extra), extra);
        let mut free = round(json!({ "cost": 0 }));
        free.add(&round(json!({ "cost": 0.5 })));
        assert_eq!(free.extra["cost"], 0.5);
    }
}
