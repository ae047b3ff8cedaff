//! An answer at once: the events of a turn folded into one `chat.completion`.

use std::pin::pin;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt};
use rockbot_agent::{TurnError, TurnEvent, turn::Delta};
use rockbot_llm::{ToolCallDelta, chat::ToolCall};
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
            TurnEvent::Usage(usage) => record.add(&usage),
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

/// As OpenAI's SDKs do it: texts and lists grow, null says nothing, the latest of anything else counts.
fn fold_fields(sum: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        match (sum.get_mut(&name), value) {
            (Some(Value::String(sum)), Value::String(more)) => sum.push_str(&more),
            (Some(Value::Array(sum)), Value::Array(more)) => sum.extend(more),
            (Some(_), Value::Null) => {}
            (_, value) => drop(sum.insert(name, value)),
        }
    }
}
