//! An answer at once: the events of a turn folded into one `chat.completion`.

use std::pin::pin;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt};
use rockbot_agent::{TurnError, TurnEvent, turn::Delta};
use rockbot_llm::{REASONING_DETAILS, ToolCallDelta, chat::ToolCall};
use serde_json::{Map, Value};

use super::wire::{Completion, CompletionChoice, CompletionMessage, Head};
use crate::{error::ApiError, record::Record};

/// Waits for the end of `turn`.
pub(super) async fn answer(
    turn: impl Stream<Item = Result<TurnEvent, TurnError>>,
    head: Head,
    mut record: Record,
) -> Result<Response, ApiError> {
    let mut turn = pin!(turn);
    let mut sum = Sum {
        head,
        message: CompletionMessage {
            role: "assistant",
            ..CompletionMessage::default()
        },
        logprobs: None,
    };
    let mut finish_reason = None;
    let mut tools_ran = false;
    while let Some(event) = turn.next().await {
        let event = event.map_err(|error| ApiError::from(error).final_if(tools_ran));
        match event.inspect_err(|error| record.fail(error))? {
            TurnEvent::Delta(delta) => sum.add(delta),
            TurnEvent::Usage(usage) => record.count(&usage),
            TurnEvent::ToolCall(_) => tools_ran = true,
            TurnEvent::Finished(reason) => finish_reason = Some(reason),
            TurnEvent::Started | TurnEvent::ToolResult(_) => {}
        }
    }
    let finish_reason = finish_reason
        .ok_or_else(ApiError::internal)
        .inspect_err(|error| record.fail(error))?;
    let Sum {
        head,
        mut message,
        logprobs,
    } = sum;
    if message.tool_calls.is_empty() {
        message.content.get_or_insert_default();
    }
    record.succeed();
    let choice = CompletionChoice {
        index: 0,
        message,
        logprobs,
        finish_reason,
    };
    let Head {
        id,
        created,
        model,
        origin,
    } = head;
    let usage = record.usage().cloned();
    let completion = Completion {
        id,
        object: "chat.completion",
        created,
        model,
        choices: [choice],
        usage,
        origin,
    };
    Ok(Json(completion).into_response())
}

/// The answer so far.
struct Sum {
    head: Head,
    message: CompletionMessage,
    logprobs: Option<Map<String, Value>>,
}

impl Sum {
    fn add(&mut self, delta: Delta) {
        let message = &mut self.message;
        match delta {
            Delta::Content(text) => message.content.get_or_insert_default().push_str(&text),
            Delta::Reasoning(text) => message.reasoning_content.push_str(&text),
            Delta::ToolCall(delta) => fold_call(&mut message.tool_calls, delta),
            Delta::Logprobs(fields) => fold_fields(self.logprobs.get_or_insert_default(), fields),
            Delta::Extra(fields) => fold_fields(&mut message.extra, fields),
            Delta::Origin(fields) => self.head.origin.extend(fields),
        }
    }
}

/// The turn numbers the calls contiguously and names each with its first fragment.
fn fold_call(calls: &mut Vec<ToolCall>, delta: ToolCallDelta) {
    let ToolCallDelta {
        index,
        id,
        name,
        arguments,
        extra,
    } = delta;
    match calls.get_mut(index as usize) {
        Some(call) => {
            call.function.arguments.push_str(&arguments);
            call.extra.extend(extra);
        }
        None => calls.push(ToolCall {
            extra,
            ..ToolCall::function(id.unwrap_or_default(), name.unwrap_or_default(), arguments)
        }),
    }
}

/// As OpenAI's SDK for Python does it: texts grow, objects and the entries of lists with the same `index` are put together
/// field by field, other entries are appended, and null says nothing. Of anything else the latest counts, also of numbers:
/// a time that is said twice is no later one.
fn fold_fields(sum: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        match (&*name, sum.get_mut(&name), value) {
            (_, Some(_), Value::Null) => {}
            ("index" | "type", _, value) => drop(sum.insert(name, value)),
            (_, Some(Value::String(sum)), Value::String(more)) => sum.push_str(&more),
            (_, Some(Value::Object(sum)), Value::Object(more)) => fold_fields(sum, more),
            // Each of them is whole, and goes back as it came.
            (REASONING_DETAILS, Some(Value::Array(sum)), Value::Array(more)) => sum.extend(more),
            (REASONING_DETAILS, _, value) => drop(sum.insert(name, value)),
            (_, Some(Value::Array(sum)), Value::Array(more)) => fold_entries(sum, more),
            (_, _, Value::Array(entries)) => {
                let mut list = Vec::new();
                fold_entries(&mut list, entries);
                sum.insert(name, list.into());
            }
            (_, _, value) => drop(sum.insert(name, value)),
        }
    }
}

/// The first delta of a list may already have several fragments of one entry.
fn fold_entries(sum: &mut Vec<Value>, entries: Vec<Value>) {
    for entry in entries {
        let index = entry.get("index").filter(|index| index.is_u64());
        let known = index.and_then(|index| sum.iter_mut().find(|known| known.get("index") == Some(index)));
        match (known, entry) {
            (Some(Value::Object(known)), Value::Object(more)) => fold_fields(known, more),
            (_, entry) => sum.push(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_nobody_knows_are_put_together() {
        let mut sum = Map::new();
        for delta in [
            json!({ "function_call": { "name": "f", "arguments": "" }, "audio": { "id": "a", "expires_at": 5 } }),
            json!({ "function_call": { "arguments": "{" }, "audio": { "data": "aG", "expires_at": 5 }, "refusal": "N" }),
            json!({ "function_call": { "name": null, "arguments": "}" }, "audio": { "data": "k=" }, "refusal": "o" }),
            json!({ "parts": [{ "index": 0, "type": "t", "text": "a" }, { "index": 1, "text": "x" }], "plain": [1] }),
            json!({ "parts": [{ "index": 0, "type": "t", "text": "b" }, { "text": "none" }], "plain": [1, "z"] }),
            json!({ "reasoning_details": [{ "index": 0, "data": "s" }, { "index": 0, "data": "s" }] }),
            json!({ "reasoning_details": [{ "index": 0, "data": "s" }] }),
            json!({ "many": [{ "index": 0, "text": "a" }, { "index": 0, "text": "b" }] }),
        ] {
            let Value::Object(fields) = delta else {
                panic!("{delta}")
            };
            fold_fields(&mut sum, fields);
        }
        let detail = json!({ "index": 0, "data": "s" });
        let expected = json!({
            "function_call": { "name": "f", "arguments": "{}" },
            "audio": { "id": "a", "expires_at": 5, "data": "aGk=" },
            "refusal": "No",
            "parts": [{ "index": 0, "type": "t", "text": "ab" }, { "index": 1, "text": "x" }, { "text": "none" }],
            "plain": [1, 1, "z"],
            "reasoning_details": [detail, detail, detail],
            "many": [{ "index": 0, "text": "ab" }],
        });
        assert_eq!(Value::Object(sum), expected);
    }
}
