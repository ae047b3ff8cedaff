//! OpenAI's chat completions.

use serde_json::{Map, Value, json};

use super::{Answer, fragments, read, words};
use crate::step::Step;

pub(super) const KEEP_ALIVE: &str = ": keep-alive\n\n";
const CREATED: u64 = 1_760_000_000;

pub(super) fn events(answer: &Answer<'_>) -> Vec<String> {
    let Answer { step, request, .. } = answer;
    let include_usage = request["stream_options"]["include_usage"] == true;
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": answer.model,
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
            "choices": choices,
        });
        if include_usage {
            chunk["usage"] = usage;
        }
        event(&chunk)
    };
    let choice = |delta: Value, finish: Value, written: usize| {
        let logprobs = logprobs(request, &delta);
        let usage = if step.repeat_usage {
            usage(answer, written)
        } else {
            Value::Null
        };
        chunk(
            json!([{ "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish }]),
            usage,
        )
    };
    let deltas = deltas(step);
    let written = deltas.len();
    let mut events: Vec<_> = deltas
        .into_iter()
        .zip(1..)
        .map(|(delta, written)| choice(delta, Value::Null, written))
        .collect();
    if let Some(error) = &step.error_event {
        events.push(event(error));
        return events;
    }
    let implied = if step.calls.is_empty() { "stop" } else { "tool_calls" };
    events.push(choice(
        json!({}),
        step.finish_reason.as_deref().unwrap_or(implied).into(),
        written,
    ));
    if include_usage && !step.hide_usage {
        events.push(chunk(json!([]), usage(answer, written)));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// Each word is a token.
fn logprobs(request: &Value, delta: &Value) -> Value {
    match delta["content"].as_str() {
        Some(word) if request["logprobs"] == true && !word.is_empty() => {
            let token = json!({ "token": word, "logprob": -0.5, "bytes": word.as_bytes(), "top_logprobs": [] });
            json!({ "content": [token], "refusal": null })
        }
        _ => Value::Null,
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn deltas(step: &Step) -> Vec<Value> {
    let content = if step.calls.is_empty() { json!("") } else { Value::Null };
    let mut deltas = vec![json!({ "role": "assistant", "content": content, "refusal": null })];
    let reasoning = words(step.reasoning.as_ref());
    let field = step.reasoning_field.as_deref().unwrap_or("reasoning_content");
    deltas.extend(reasoning.into_iter().map(|word| json!({ field: word })));
    let content = words(step.content.as_ref());
    deltas.extend(content.into_iter().map(|word| json!({ "content": word })));
    for (index, call) in step.calls.iter().enumerate() {
        let id = call.id.clone().unwrap_or_else(|| format!("call_{index}"));
        let function = json!({ "name": call.name, "arguments": "" });
        let mut first = json!({ "index": index, "id": id, "type": "function", "function": function });
        first
            .as_object_mut()
            .into_iter()
            .for_each(|first| first.extend(call.extra.clone()));
        deltas.push(json!({ "tool_calls": [first] }));
        let fragment = |text| json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] });
        deltas.extend(fragments(&call.arguments_text()).into_iter().map(fragment));
    }
    if step.extra != Map::new() {
        deltas.push(Value::Object(step.extra.clone()));
    }
    deltas
}

/// A token for each word that was read and each delta that was written.
fn usage(answer: &Answer<'_>, written: usize) -> Value {
    let read = read(answer.chat);
    json!({
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": { "cached_tokens": 1, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 2 },
    })
}

pub(super) fn complaint(request: &Value) -> Option<String> {
    (request["stream"] != true).then(|| "this provider streams only: send \"stream\": true".to_owned())
}

/// Why a server that does not know all fields refuses a request, in Groq's words.
pub(super) fn unsupported(step: &Step, request: &Value) -> Option<String> {
    let messages = request["messages"].as_array().into_iter().flatten();
    let mut places = std::iter::once(request).chain(messages);
    places.find_map(|place| {
        let has = |name: &&String| place.get(name.as_str()).is_some();
        let name = step.unsupported.iter().find(has)?;
        Some(format!("property '{name}' is unsupported"))
    })
}

pub(super) fn error(status: u16, message: &str) -> Value {
    let (kind, code) = match status {
        401 => ("invalid_request_error", json!("invalid_api_key")),
        400..=499 => ("invalid_request_error", Value::Null),
        _ => ("server_error", Value::Null),
    };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
}
