//! A step as the bytes of OpenAI's event stream, field by field as the real one sends them.

use serde_json::{Map, Value, json};

use crate::step::Step;

/// Letters in a fragment of a call's arguments.
const FRAGMENT: usize = 7;
const CREATED: u64 = 1_760_000_000;

/// The server-sent events of `step`, each with its blank line.
pub(crate) fn events(step: &Step, request: &Value) -> Vec<String> {
    if let Some(raw) = &step.raw {
        return vec![raw.clone()];
    }
    let include_usage = request["stream_options"]["include_usage"] == true;
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": request["model"],
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
            "choices": choices,
        });
        if include_usage {
            chunk["usage"] = usage;
        }
        event(&chunk)
    };
    let choice = |delta: Value, finish: Value| {
        chunk(
            json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]),
            Value::Null,
        )
    };
    let deltas = deltas(step);
    let written = deltas.len();
    let mut events: Vec<_> = deltas.into_iter().map(|delta| choice(delta, Value::Null)).collect();
    if let Some(error) = &step.error_event {
        events.push(event(error));
        return events;
    }
    let implied = if step.calls.is_empty() { "stop" } else { "tool_calls" };
    events.push(choice(
        json!({}),
        step.finish_reason.as_deref().unwrap_or(implied).into(),
    ));
    if include_usage && !step.hide_usage {
        events.push(chunk(json!([]), usage(request, written)));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn deltas(step: &Step) -> Vec<Value> {
    let content = if step.calls.is_empty() { json!("") } else { Value::Null };
    let mut deltas = vec![json!({ "role": "assistant", "content": content, "refusal": null })];
    let words = |text: &Option<String>| -> Vec<String> {
        text.iter()
            .flat_map(|text| text.split_inclusive(char::is_whitespace))
            .map(str::to_owned)
            .collect()
    };
    deltas.extend(
        words(&step.reasoning)
            .into_iter()
            .map(|word| json!({ "reasoning_content": word })),
    );
    deltas.extend(words(&step.content).into_iter().map(|word| json!({ "content": word })));
    for (index, call) in step.calls.iter().enumerate() {
        let id = call.id.clone().unwrap_or_else(|| format!("call_{index}"));
        let function = json!({ "name": call.name, "arguments": "" });
        deltas.push(json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": function }] }));
        let letters: Vec<_> = call.arguments_text().chars().collect();
        deltas.extend(letters.chunks(FRAGMENT).map(|letters| {
            let fragment: String = letters.iter().collect();
            json!({ "tool_calls": [{ "index": index, "function": { "arguments": fragment } }] })
        }));
    }
    if step.extra != Map::new() {
        deltas.push(Value::Object(step.extra.clone()));
    }
    deltas
}

/// A token for each word that was read and each delta that was written, so that a test can know the sum.
fn usage(request: &Value, written: usize) -> Value {
    let messages = request["messages"].as_array().into_iter().flatten();
    let read: usize = messages
        .filter_map(|m| m["content"].as_str())
        .map(|text| text.split_whitespace().count())
        .sum();
    json!({
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": { "cached_tokens": 1, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 2 },
    })
}
