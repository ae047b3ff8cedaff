//! What a provider says beyond words reaches the client, and what it wants back comes back.

use reqwest::StatusCode;
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};

use crate::site::{Site, chunks, user};

fn signature() -> Value {
    json!({ "google": { "thought_signature": "c2lnbmVk" } })
}

/// A call with a field of the provider's own.
fn signed(name: &str) -> Call {
    let arguments = json!({ "script": "1" });
    let extra = json!({ "extra_content": signature() }).as_object().unwrap().clone();
    Call {
        extra,
        ..Call::new(name, arguments)
    }
}

/// The calls in message `index` of what the model read last.
fn calls_read(site: &Site, index: usize) -> Value {
    site.model_saw().last().unwrap()["messages"][index]["tool_calls"].clone()
}

#[tokio::test]
async fn s1_s2_probabilities_and_the_origin_of_an_answer_are_passed_on() {
    let site = Site::scripted([Step::say("Yes it is"), Step::say("Yes it is")]).await;
    let mut body = user("well?");
    body["logprobs"] = json!(true);
    let (_, answer) = site.ask(body.clone()).await;
    assert_eq!(answer["system_fingerprint"], "fp_fake", "{answer}");
    assert_eq!(answer["service_tier"], "default");
    let tokens =
        |probabilities: &[Value]| -> Vec<Value> { probabilities.iter().map(|token| token["token"].clone()).collect() };
    let whole = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens(whole), ["Yes ", "it ", "is"]);

    let chunks = chunks(&site.stream(body).await);
    let parts = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array());
    assert_eq!(&parts.flatten().cloned().collect::<Vec<_>>(), whole);
    assert_eq!(chunks.last().unwrap()["system_fingerprint"], "fp_fake");
}

#[tokio::test]
async fn s8_what_a_provider_adds_to_a_call_comes_back_to_it() {
    let site = Site::scripted([
        Step::call([signed("execute_python_script")]),
        Step::call([signed("open_window")]),
        Step::say("done"),
    ])
    .await;
    let tools = json!([{ "type": "function", "function": { "name": "open_window" } }]);
    let mut body = user("go");
    body["tools"] = tools.clone();
    let chunks = chunks(&site.stream(body).await);
    assert_eq!(
        calls_read(&site, 2)[0]["extra_content"],
        signature(),
        "of the agent's own call"
    );
    let fragments: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0))
        .collect();
    let added: Vec<_> = fragments.iter().filter_map(|call| call.get("extra_content")).collect();
    assert_eq!(added, [&signature()], "of the client's");

    let call = json!({
        "id": fragments[0]["id"], "type": "function", "extra_content": added[0],
        "function": { "name": "open_window", "arguments": r#"{"script":"1"}"# },
    });
    let messages = json!([
        { "role": "user", "content": "go" }, { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": fragments[0]["id"], "content": "open" },
    ]);
    let (status, answer) = site.ask(json!({ "messages": messages, "tools": tools })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(calls_read(&site, 4)[0]["extra_content"], signature());
}

#[tokio::test]
async fn responses_give_a_provider_back_what_it_adds_to_a_call() {
    let tools = json!([{ "type": "function", "name": "open_window", "parameters": {} }]);
    for stored in [true, false] {
        let site = Site::scripted([Step::call([signed("open_window")]), Step::say("done")]).await;
        let body = json!({ "input": "go", "tools": tools, "store": stored });
        let (_, response) = site.ask_at("/a/responses", body).await;
        let call = &response["output"][0];
        assert_eq!(call["extra_content"], signature(), "{response}");
        let output = json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "open" });
        let follow_up = match stored {
            true => json!({ "previous_response_id": response["id"], "input": [output], "tools": tools }),
            false => json!({ "input": [{ "role": "user", "content": "go" }, call, output], "tools": tools }),
        };
        let (status, answer) = site.ask_at("/a/responses", follow_up).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(calls_read(&site, 2)[0]["extra_content"], signature());
    }
}

#[tokio::test]
async fn s11_a_tool_that_is_no_function_is_refused() {
    let site = Site::scripted([]).await;
    let mut body = user("go");
    body["tools"] = json!([{ "type": "custom", "custom": { "name": "shell" } }]);
    let (status, answer) = site.ask(body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["param"], "tools[0].type", "{answer}");
}
