//! The demo model: says what it is, streams word by word, runs Python when it may and reports the result.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use futures::{FutureExt, StreamExt};
use rockbot_llm::{Demo, Event, Model, chat::ChatRequest};
use serde_json::{Value, json};

const BLOCK: &str = "run this:\n```python\nprint(6*7)\n```";

async fn answer(body: Value) -> Vec<Event> {
    let request: ChatRequest = serde_json::from_value(body).unwrap();
    let events = Demo.stream(&request).await.unwrap();
    events.map(Result::unwrap).collect().await
}

fn said(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| {
            if let Event::Content(word) = event {
                Some(&**word)
            } else {
                None
            }
        })
        .collect()
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "execute_python_script" } }])
}

#[tokio::test]
async fn it_says_that_it_is_a_demo_word_by_word_and_always_the_same() {
    let body = json!({ "messages": [{ "role": "user", "content": "hello" }], "tools": tools() });
    let events = answer(body.clone()).await;
    let words = said(&events);
    assert!(
        words.concat().contains("demo model") && words.concat().contains("hello"),
        "{words:?}"
    );
    assert!(
        words.iter().all(|word| word.split_whitespace().count() == 1),
        "{words:?}"
    );
    assert_eq!(answer(body).await, events);
}

#[tokio::test]
async fn it_runs_a_python_block_only_when_it_may() {
    let body = json!({ "messages": [{ "role": "user", "content": BLOCK }], "tools": tools() });
    let events = answer(body).await;
    let Some(Event::ToolCall(call)) = events.get(1) else {
        panic!("{events:?}")
    };
    assert_eq!(call.name.as_deref(), Some("execute_python_script"));
    assert_eq!(
        serde_json::from_str::<Value>(&call.arguments).unwrap(),
        json!({ "script": "print(6*7)\n" })
    );
    let events = answer(json!({ "messages": [{ "role": "user", "content": BLOCK }] })).await;
    assert!(said(&events).concat().contains("spec.tools.scripts"), "{events:?}");
}

#[tokio::test]
async fn it_reports_what_came_back() {
    let events = answer(json!({ "tools": tools(), "messages": [
        { "role": "user", "content": BLOCK },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "1", "type": "function", "function": { "name": "execute_python_script", "arguments": "{}" } },
        ] },
        { "role": "tool", "tool_call_id": "1", "content": "42\n" },
    ] }))
    .await;
    assert!(said(&events).concat().contains("42"), "{events:?}");
}

#[tokio::test]
async fn words_come_one_by_one() {
    let request = serde_json::from_value(json!({ "messages": [{ "role": "user", "content": "hi" }] })).unwrap();
    let mut events = Demo.stream(&request).await.unwrap();
    let ready = std::iter::from_fn(|| events.next().now_or_never()).count();
    assert!(ready <= 1, "{ready} events at once");
}
