//! Anthropic's Messages.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, SIGNATURE, fragments, read, tools, unknown, words};
use crate::step::Step;

pub(super) const KEEP_ALIVE: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

const FIELDS: [&str; 19] = [
    "model",
    "messages",
    "max_tokens",
    "stream",
    "system",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "metadata",
    "thinking",
    "output_config",
    "cache_control",
    "container",
    "inference_geo",
    "service_tier",
    "speed",
];

pub(super) fn events(answer: &Answer<'_>) -> Vec<String> {
    let step = answer.step;
    let read = read(answer.chat);
    let blocks = blocks(step);
    let written: usize = blocks.iter().map(|(_, deltas)| deltas.len()).sum();
    let message = json!({
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": { "input_tokens": read, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 1, "output_tokens": 1 },
    });
    let mut events = vec![event(&json!({ "type": "message_start", "message": message }))];
    for (index, (block, deltas)) in blocks.into_iter().enumerate() {
        events.push(event(
            &json!({ "type": "content_block_start", "index": index, "content_block": block }),
        ));
        let delta = |delta| event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        events.extend(deltas.into_iter().map(delta));
        events.push(event(&json!({ "type": "content_block_stop", "index": index })));
    }
    if let Some(error) = &step.error_event {
        events.push(event(error));
        return events;
    }
    let implied = if step.calls.is_empty() { "end_turn" } else { "tool_use" };
    let reason = step.finish_reason.as_deref().unwrap_or(implied);
    events.push(event(&json!({
        "type": "message_delta",
        "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": written, "output_tokens_details": { "thinking_tokens": 2 } },
    })));
    events.push(event(&json!({ "type": "message_stop" })));
    events
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or("error"))
}

/// Each block as it starts, and its deltas.
fn blocks(step: &Step) -> Vec<(Value, Vec<Value>)> {
    let mut blocks = Vec::new();
    if step.reasoning.is_some() {
        let thinking = words(step.reasoning.as_ref()).into_iter();
        let mut deltas: Vec<_> = thinking
            .map(|word| json!({ "type": "thinking_delta", "thinking": word }))
            .collect();
        deltas.push(json!({ "type": "signature_delta", "signature": SIGNATURE }));
        blocks.push((json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas));
    }
    if step.content.is_some() {
        let text = words(step.content.as_ref()).into_iter();
        let deltas = text.map(|word| json!({ "type": "text_delta", "text": word })).collect();
        blocks.push((json!({ "type": "text", "text": "" }), deltas));
    }
    for (index, call) in step.calls.iter().enumerate() {
        let id = call.id.clone().unwrap_or_else(|| format!("toolu_{index}"));
        let block = json!({ "type": "tool_use", "id": id, "name": call.name, "input": {} });
        let empty = std::iter::once(String::new());
        let deltas = empty
            .chain(fragments(&call.arguments_text()))
            .map(|text| json!({ "type": "input_json_delta", "partial_json": text }));
        blocks.push((block, deltas.collect()));
    }
    blocks
}

pub(super) fn complaint(headers: &HeaderMap, request: &Value) -> Option<String> {
    if !headers.contains_key("anthropic-version") {
        return Some("anthropic-version: header is required".into());
    }
    if let Some(field) = unknown(request, &FIELDS) {
        return Some(format!("{field}: Extra inputs are not permitted"));
    }
    if !request["max_tokens"].is_u64() {
        return Some("max_tokens: Field required".into());
    }
    if request["stream"] != true {
        return Some("this provider streams only: send \"stream\": true".into());
    }
    let messages = request["messages"].as_array()?;
    messages.iter().enumerate().find_map(|(index, message)| {
        let next = messages.get(index + 1).unwrap_or(&Value::Null);
        message_complaint(message, next).map(|complaint| format!("messages.{index}: {complaint}"))
    })
}

fn message_complaint(message: &Value, next: &Value) -> Option<String> {
    if !matches!(message["role"].as_str(), Some("user" | "assistant")) {
        return Some(format!("role: unexpected {}", message["role"]));
    }
    let blocks = |message: &Value| message["content"].as_array().cloned().unwrap_or_default();
    if message["content"] == "" || message["content"] == json!([]) {
        return Some("all messages must have non-empty content".into());
    }
    if blocks(message)
        .iter()
        .any(|block| block["type"] == "text" && block["text"] == "")
    {
        return Some("text content blocks must be non-empty".into());
    }
    let results = blocks(next);
    let unanswered = blocks(message).into_iter().find(|block| {
        block["type"] == "tool_use" && !results.iter().any(|result| result["tool_use_id"] == block["id"])
    });
    unanswered.map(|call| {
        format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}",
            call["id"]
        )
    })
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_fake" })
}

pub(super) fn chat(request: &Value) -> Value {
    let mut messages = Vec::new();
    for message in request["messages"].as_array().into_iter().flatten() {
        let (role, content) = (&message["role"], &message["content"]);
        let Some(blocks) = content.as_array() else {
            messages.push(json!({ "role": role, "content": content }));
            continue;
        };
        for block in blocks {
            match block["type"].as_str() {
                Some("text") => messages.push(json!({ "role": role, "content": block["text"] })),
                Some("tool_result") => messages.push(json!({ "role": "tool", "content": text(&block["content"]) })),
                _ => {}
            }
        }
    }
    let names = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| &tool["name"]);
    json!({ "messages": messages, "tools": tools(names) })
}

fn text(content: &Value) -> String {
    let blocks = content.as_array().into_iter().flatten();
    let texts: Vec<_> = blocks
        .filter_map(|block| block["text"].as_str())
        .chain(content.as_str())
        .collect();
    texts.join("\n")
}
