//! Google's Gemini: `streamGenerateContent` with `alt=sse`.

use serde_json::{Map, Value, json};

use super::{Answer, SIGNATURE, read, tools, unknown, words};
use crate::step::Step;

/// Gemini sends none, and its SDK would not understand one.
pub(super) const KEEP_ALIVE: &str = "";

const FIELDS: [&str; 8] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "labels",
];

pub(super) fn events(answer: &Answer<'_>) -> Vec<String> {
    let step = answer.step;
    let read = read(answer.chat);
    let parts = parts(step);
    let written = parts.len();
    let response = |index: usize, part: Value, finish: Option<&str>| {
        let mut candidate = json!({ "content": { "parts": [part], "role": "model" }, "index": 0 });
        if let Some(finish) = finish {
            candidate["finishReason"] = finish.into();
        }
        let tokens = json!({
            "promptTokenCount": read,
            "candidatesTokenCount": index,
            "totalTokenCount": read + index + 2,
            "cachedContentTokenCount": 1,
            "thoughtsTokenCount": 2,
        });
        let mut response = json!({ "candidates": [candidate], "modelVersion": answer.model, "responseId": "fake" });
        if !step.hide_usage {
            response["usageMetadata"] = tokens;
        }
        event(&response)
    };
    let mut events: Vec<_> = parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| response(index, part, None))
        .collect();
    match &step.error_event {
        Some(error) => events.push(event(error)),
        None => {
            let finish = step.finish_reason.as_deref().unwrap_or("STOP");
            events.push(response(written, json!({ "text": "" }), Some(finish)));
        }
    }
    events
}

fn event(data: &Value) -> String {
    format!("data: {data}\r\n\r\n")
}

fn parts(step: &Step) -> Vec<Value> {
    let thoughts = words(step.reasoning.as_ref()).into_iter();
    let mut parts: Vec<_> = thoughts.map(|word| json!({ "text": word, "thought": true })).collect();
    parts.extend(
        words(step.content.as_ref())
            .into_iter()
            .map(|word| json!({ "text": word })),
    );
    parts.extend(step.calls.iter().map(|call| {
        // Gemini parses what its model writes; arguments that are no object never leave it.
        let arguments: Map<String, Value> = serde_json::from_str(&call.arguments_text()).unwrap_or_default();
        let mut part = json!({ "functionCall": { "name": call.name, "args": arguments } });
        if step.reasoning.is_some() {
            part["thoughtSignature"] = SIGNATURE.into();
        }
        part
    }));
    parts
}

pub(super) fn complaint(request: &Value) -> Option<String> {
    if let Some(field) = unknown(request, &FIELDS) {
        return Some(format!(
            "Invalid JSON payload received. Unknown name \"{field}\": Cannot find field."
        ));
    }
    let contents = request["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
    if contents.is_empty() {
        return Some("* GenerateContentRequest.contents: contents is not specified".into());
    }
    contents.iter().find_map(|content| match content["role"].as_str() {
        Some("user" | "model") | None => content["parts"]
            .as_array()
            .is_none_or(Vec::is_empty)
            .then(|| "* GenerateContentRequest.contents: parts must not be empty".into()),
        Some(_) => Some("Please use a valid role: user, model.".into()),
    })
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    json!({ "error": { "code": status, "message": message, "status": name } })
}

pub(super) fn chat(request: &Value) -> Value {
    let mut messages = Vec::new();
    for content in request["contents"].as_array().into_iter().flatten() {
        let role = if content["role"] == "model" {
            "assistant"
        } else {
            "user"
        };
        for part in content["parts"].as_array().into_iter().flatten() {
            if let Some(response) = part["functionResponse"]["response"].as_object() {
                let text = response.get("result").and_then(Value::as_str).map(str::to_owned);
                let text = text.unwrap_or_else(|| json!(response).to_string());
                messages.push(json!({ "role": "tool", "content": text }));
            } else if part["text"].is_string() {
                messages.push(json!({ "role": role, "content": part["text"] }));
            }
        }
    }
    let declared = request["tools"].as_array().into_iter().flatten();
    let functions = declared.flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten());
    json!({ "messages": messages, "tools": tools(functions.map(|function| &function["name"])) })
}
