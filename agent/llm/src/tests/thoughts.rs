//! What a model thinks goes back to servers of OpenAI's wire as it came from them.

use futures::StreamExt;
use rockbot_fakes::{Call, FakeModel, Step};
use serde_json::{Map, Value, json};

use super::{KEY, config, key_file, question, wire};
use crate::{
    Endpoints, Event, Metrics, Model, ModelError,
    chat::{ChatRequest, Message},
    connect,
    reasoning::REASONING_DETAILS,
};

/// Asks, and adds what the model says to `request`, as a turn does and as a client does that returns what it is given.
async fn round(model: &dyn Model, request: &mut ChatRequest) -> Result<(), ModelError> {
    let (mut thoughts, mut details, mut calls) = (String::new(), Vec::new(), Vec::new());
    let mut answer = model.stream(request).await?;
    while let Some(event) = answer.next().await {
        match event? {
            Event::Reasoning(text) => thoughts.push_str(&text),
            Event::Extra(fields) => details.extend(fields[REASONING_DETAILS].as_array().unwrap().clone()),
            Event::ToolCall(call) => calls.extend(call.name),
            _ => {}
        }
    }
    let calls = calls.iter().enumerate();
    let calls: Vec<_> = calls
        .map(|(index, name)| json!({ "id": format!("c{index}"), "function": { "name": name, "arguments": "{}" } }))
        .collect();
    let mut said = json!({ "role": "assistant", "content": "A moment.", "reasoning_content": thoughts });
    if !details.is_empty() {
        said[REASONING_DETAILS] = details.into();
    }
    said["tool_calls"] = calls.into();
    request.messages.push(serde_json::from_value(said).unwrap());
    request.messages.push(Message::tool_result("c0", "42"));
    Ok(())
}

/// Servers with one name each, which refuse every other.
#[tokio::test]
async fn thoughts_go_back_under_the_name_by_which_they_came() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    let names = ["reasoning_content", "reasoning"];
    for (own, other) in [(names[0], names[1]), (names[1], names[0])] {
        let step = || Step {
            reasoning: Some("I must look.".into()),
            reasoning_field: Some(own.into()),
            unsupported: vec![other.into(), REASONING_DETAILS.into()],
            ..Step::call([Call::new("f", json!({}))])
        };
        let base = fake.script(own, [step(), step(), step()]);
        let fields = json!({ "baseUrl": base, "apiKeyFile": key.path() });
        let model = connect(&config("OpenAI", fields), &Endpoints::default(), &Metrics::default()).unwrap();
        let mut request = question();
        for _ in 0..3 {
            round(&*model, &mut request).await.unwrap();
        }
        let saw = fake.requests(own).pop().unwrap().body;
        let thoughts: Vec<_> = saw["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|message| message.get(own))
            .collect();
        assert_eq!(thoughts, ["I must look."; 2], "{saw}");
    }
}

#[test]
fn thoughts_are_written_as_their_server_has_them() {
    let mark = |format: &str| json!({ "type": "reasoning.text", "text": "", "format": format, "index": 0 });
    let detail = json!({ "type": "reasoning.text", "text": "Hm.", "format": "anthropic-claude-v1", "signature": "s" });
    let (reasoning, content) = (mark("openai-reasoning"), mark("openai-content"));
    let thinking = json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "Hm." }] });
    let text = json!({ "type": "text", "text": "Yes." });
    let thought = json!({ "reasoning_content": "Hm." });
    let compatible = json!("http://vllm.test/v1");
    let cases = [
        // Of a server with that name, or of a client that has it from elsewhere.
        (
            &compatible,
            thought.clone(),
            json!({ "content": "Yes.", "reasoning_content": "Hm." }),
        ),
        (
            &compatible,
            json!({ "reasoning_content": "Hm.", "reasoning_details": [reasoning, detail] }),
            json!({ "content": "Yes.", "reasoning": "Hm.", "reasoning_details": [detail] }),
        ),
        (
            &compatible,
            json!({ "reasoning_content": "Hm.", "reasoning_details": [content] }),
            json!({ "content": [thinking, text] }),
        ),
        // A client has kept the mark alone.
        (
            &compatible,
            json!({ "reasoning_details": [reasoning] }),
            json!({ "content": "Yes." }),
        ),
        (&Value::Null, thought, json!({ "content": "Yes." })),
        (
            &Value::Null,
            json!({ "reasoning_content": "Hm.", "reasoning_details": [reasoning] }),
            json!({ "content": "Yes." }),
        ),
    ];
    for (base, fields, expected) in cases {
        let fields: Map<_, _> = serde_json::from_value(fields).unwrap();
        let message = Message {
            extra: fields.clone(),
            ..Message::text("assistant", "Yes.")
        };
        let request = ChatRequest {
            messages: vec![message],
            ..question()
        };
        let body = wire("OpenAI", json!({ "baseUrl": base })).body(&request).unwrap();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let mut sent = body["messages"][0].take();
        sent.as_object_mut().unwrap().remove("role");
        assert_eq!(sent, expected, "{fields:?} to {base}");
    }
}
