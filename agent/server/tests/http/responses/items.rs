//! Calls and thoughts of a response: told event by event, and given back by clients that keep the conversation.

use reqwest::StatusCode;
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};

use super::{PATH, kinds, stream};
use crate::site::{Site, agent};

fn tools() -> Value {
    json!([{ "type": "function", "name": "open_window", "parameters": {} }])
}

fn open() -> Call {
    Call::new("open_window", json!({ "window": "left" }))
}

#[tokio::test]
async fn s8_s14_a_call_is_told_of_in_the_order_that_clients_expect() {
    let site = Site::scripted([Step::call([open()])]).await;
    let events = stream(&site, json!({ "input": "air", "tools": tools() })).await;
    assert_eq!(
        kinds(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let of = |kind: &str| &events.iter().find(|(other, _)| other == kind).unwrap().1;
    let added = &of("response.output_item.added")["item"];
    assert_eq!(
        (&added["name"], &added["arguments"], &added["status"]),
        (&json!("open_window"), &json!(""), &json!("in_progress"))
    );
    let done = &of("response.output_item.done")["item"];
    assert_eq!(
        (&done["id"], &done["call_id"]),
        (&added["id"], &added["call_id"]),
        "one call from its beginning to its end"
    );
    assert_eq!(done["arguments"], r#"{"window":"left"}"#);
}

/// Anthropic refuses a call that comes back without the signed thought before it.
#[tokio::test]
async fn s14_encrypted_reasoning_comes_back_to_the_model_that_made_it() {
    let thoughtful = Step {
        reasoning: Some("Stuffy.".into()),
        ..Step::call([open()])
    };
    let site = Site::start().await;
    let url = site.model.script("scripted", [thoughtful, Step::say("Done.")]);
    let mut config = agent("a", &url);
    config["model"]["provider"] = json!("Anthropic");
    site.set(vec![config]);
    let include = json!(["reasoning.encrypted_content"]);
    let body = json!({ "input": "air", "tools": tools(), "include": include, "store": false });
    let (status, response) = site.ask_at(PATH, body).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    let items = response["output"].as_array().unwrap();
    assert!(items[0]["encrypted_content"].is_string(), "{response}");

    let call = items.iter().find(|item| item["type"] == "function_call").unwrap();
    let mut input = vec![json!({ "role": "user", "content": "air" })];
    input.extend(items.iter().cloned());
    input.push(json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "open" }));
    let body = json!({ "input": input, "tools": tools(), "include": include, "store": false });
    let (status, response) = site.ask_at(PATH, body).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    let [_, second] = &site.model_saw()[..] else {
        panic!("not two requests");
    };
    let said = &second["messages"][1]["content"];
    assert_eq!(
        (&said[0]["type"], &said[0]["thinking"], &said[1]["type"]),
        (&json!("thinking"), &json!("Stuffy."), &json!("tool_use")),
        "{second}"
    );
    assert!(
        said[0]["signature"]
            .as_str()
            .is_some_and(|signature| !signature.is_empty()),
        "{second}"
    );
}
