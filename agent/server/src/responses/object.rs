//! The Response object, as it is written.

use rockbot_llm::Usage;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::item::Item;
use crate::error::ApiError;

/// What a response repeats of its request.
#[derive(Serialize)]
pub(super) struct Echo {
    pub(super) id: String,
    pub(super) created_at: i64,
    pub(super) model: String,
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) metadata: Map<String, Value>,
    pub(super) parallel_tool_calls: bool,
    pub(super) previous_response_id: Option<String>,
    pub(super) reasoning: Map<String, Value>,
    pub(super) temperature: Option<f64>,
    pub(super) text: Map<String, Value>,
    pub(super) tool_choice: Value,
    pub(super) tools: Vec<Map<String, Value>>,
    pub(super) top_p: Option<f64>,
    pub(super) user: Option<String>,
    /// Whether reasoning items carry what only the provider can read.
    #[serde(skip)]
    pub(super) encrypted_reasoning: bool,
}

/// A response as it stands.
#[derive(Serialize)]
pub(super) struct Object<'a> {
    object: &'static str,
    status: Status,
    background: bool,
    #[serde(flatten)]
    echo: &'a Echo,
    completed_at: Option<i64>,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    output: &'a [Item],
    store: bool,
    truncation: &'static str,
    usage: Option<Value>,
}

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl Status {
    /// Of an answer that has ended, for a reason in the words of chat completions.
    pub(super) fn of(reason: &str) -> Self {
        match reason {
            "length" | "content_filter" => Self::Incomplete,
            _ => Self::Completed,
        }
    }
}

impl<'a> Object<'a> {
    /// A response that has begun.
    pub(super) fn begun(echo: &'a Echo, store: bool) -> Self {
        Self {
            object: "response",
            status: Status::InProgress,
            background: false,
            echo,
            completed_at: None,
            error: None,
            incomplete_details: None,
            output: &[],
            store,
            truncation: "disabled",
            usage: None,
        }
    }

    /// It has ended, for a reason in the words of chat completions.
    pub(super) fn ended(self, reason: &str, at: i64, output: &'a [Item], usage: Option<&Usage>) -> Self {
        let status = Status::of(reason);
        let lack = if reason == "length" {
            "max_output_tokens"
        } else {
            reason
        };
        Self {
            status,
            completed_at: (status == Status::Completed).then_some(at),
            incomplete_details: (status == Status::Incomplete).then(|| json!({ "reason": lack })),
            output,
            usage: usage.map(self::usage),
            ..self
        }
    }

    /// It was broken off.
    pub(super) fn failed(self, error: &ApiError, output: &'a [Item], usage: Option<&Usage>) -> Self {
        Self {
            status: Status::Failed,
            error: Some(json!({ "code": error.code, "message": error.message })),
            output,
            usage: usage.map(self::usage),
            ..self
        }
    }

    pub(super) fn to_value(&self) -> Value {
        // Nothing in it can fail to become JSON.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Usage in the words of the Responses API. All of its details are required there.
fn usage(usage: &Usage) -> Value {
    let detail = |of: &str, name: &str| {
        let detail = usage.extra.get(of).and_then(|details| details[name].as_u64());
        detail.unwrap_or_default()
    };
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": detail("prompt_tokens_details", "cached_tokens"),
            "cache_write_tokens": detail("prompt_tokens_details", "cache_write_tokens"),
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": detail("completion_tokens_details", "reasoning_tokens") },
        "total_tokens": usage.total_tokens,
    })
}

/// A new identity; nobody can guess it.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}
