//! What is said to a model and what it says, as attributes of a span. Only on request: conversations are nobody's business
//! by default.

use std::collections::BTreeMap;

use rockbot_telemetry::{KeyValue, semconv};
use serde_json::{Value, json};

use crate::{
    Event,
    chat::{ChatRequest, Message, ToolCall},
};

/// Longest text of an attribute. A longer one is left out: half of it would be no JSON.
const LONGEST: usize = 256 << 10;

/// What a model is told.
pub(crate) fn input(request: &ChatRequest) -> Option<KeyValue> {
    let messages: Vec<_> = request.messages.iter().map(message).collect();
    attribute(semconv::GEN_AI_INPUT_MESSAGES, &json!(messages))
}

fn message(message: &Message) -> Value {
    let text = message.plain_text();
    let parts: Vec<_> = match &message.tool_call_id {
        Some(id) => vec![json!({ "type": "tool_call_response", "id": id, "response": text })],
        None => (!text.is_empty())
            .then(|| text_part(&text))
            .into_iter()
            .chain(message.calls().iter().map(call_part))
            .collect(),
    };
    json!({ "role": message.role, "parts": parts })
}

fn text_part(text: &str) -> Value {
    json!({ "type": "text", "content": text })
}

fn call_part(ToolCall { id, function, .. }: &ToolCall) -> Value {
    let arguments = serde_json::from_str(&function.arguments).unwrap_or_else(|_| json!(function.arguments));
    json!({ "type": "tool_call", "id": id, "name": function.name, "arguments": arguments })
}

/// What a model has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    text: String,
    reasoning: String,
    calls: BTreeMap<u32, ToolCall>,
}

impl Said {
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            Event::Content(text) => self.text.push_str(text),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::ToolCall(delta) => {
                let call = self
                    .calls
                    .entry(delta.index)
                    .or_insert_with(|| ToolCall::function("", "", ""));
                call.id.push_str(delta.id.as_deref().unwrap_or_default());
                call.function.name.push_str(delta.name.as_deref().unwrap_or_default());
                call.function.arguments.push_str(&delta.arguments);
            }
            Event::Role(_)
            | Event::Finish(_)
            | Event::Usage(_)
            | Event::Logprobs(_)
            | Event::Extra(_)
            | Event::Origin(_) => {}
        }
    }

    /// All of it.
    pub(crate) fn output(&self, finish: Option<&str>) -> Option<KeyValue> {
        let reasoning = (!self.reasoning.is_empty()).then(|| json!({ "type": "reasoning", "content": self.reasoning }));
        let text = (!self.text.is_empty()).then(|| text_part(&self.text));
        let calls = self.calls.values().map(call_part);
        let parts: Vec<_> = reasoning.into_iter().chain(text).chain(calls).collect();
        let message = json!({ "role": "assistant", "parts": parts, "finish_reason": finish });
        attribute(semconv::GEN_AI_OUTPUT_MESSAGES, &json!([message]))
    }
}

fn attribute(name: &'static str, value: &Value) -> Option<KeyValue> {
    let text = value.to_string();
    (text.len() <= LONGEST).then(|| KeyValue::new(name, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ToolCallDelta;

    fn text(attribute: Option<KeyValue>) -> Value {
        serde_json::from_str(&attribute.unwrap().value.as_str()).unwrap()
    }

    #[test]
    fn messages_have_the_form_of_the_conventions() {
        let call = ToolCall::function("c1", "add", r#"{"a":1}"#);
        let request = ChatRequest {
            messages: vec![
                Message::text("user", "1 + 1?"),
                Message {
                    content: None,
                    tool_calls: Some(vec![call]),
                    ..Message::text("assistant", "")
                },
                Message::tool_result("c1", "2"),
            ],
            ..ChatRequest::default()
        };
        let expected = json!([
            { "role": "user", "parts": [{ "type": "text", "content": "1 + 1?" }] },
            {
                "role": "assistant",
                "parts": [{ "type": "tool_call", "id": "c1", "name": "add", "arguments": { "a": 1 } }],
            },
            { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "c1", "response": "2" }] },
        ]);
        assert_eq!(text(input(&request)), expected);

        let mut said = Said::default();
        let delta = |id: Option<&str>, arguments: &str| ToolCallDelta {
            index: 0,
            id: id.map(str::to_owned),
            name: id.map(|_| "add".to_owned()),
            arguments: arguments.to_owned(),
            ..ToolCallDelta::default()
        };
        for event in [
            Event::Content("T".into()),
            Event::Content("wo.".into()),
            Event::ToolCall(delta(Some("c2"), "{\"a\"")),
            Event::ToolCall(delta(None, ":2}")),
        ] {
            said.add(&event);
        }
        let parts = json!([
            { "type": "text", "content": "Two." },
            { "type": "tool_call", "id": "c2", "name": "add", "arguments": { "a": 2 } },
        ]);
        assert_eq!(
            text(said.output(Some("tool_calls"))),
            json!([{ "role": "assistant", "parts": parts, "finish_reason": "tool_calls" }])
        );
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let request = ChatRequest {
            messages: vec![Message::text("user", "x".repeat(LONGEST))],
            ..ChatRequest::default()
        };
        assert_eq!(input(&request), None);
    }
}
