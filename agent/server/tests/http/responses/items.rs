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

/// A model may say and think more once it has called; providers want the results right behind the calls.
#[tokio::test]
async fn s8_what_is_said_after_a_call_comes_back_in_the_message_that_calls() {
    let site = Site::scripted([Step::say("ok")]).await;
    let call = |id| json!({ "type": "function_call", "call_id": id, "name": "open_window", "arguments": "{}" });
    let say = |text| json!({ "role": "assistant", "content": [{ "type": "output_text", "text": text }] });
    let think =
        |text| json!({ "type": "reasoning", "summary": [], "content": [{ "type": "reasoning_text", "text": text }] });
    let result = |id| json!({ "type": "function_call_output", "call_id": id, "output": "open" });
    let input = json!([
        { "role": "user", "content": "air" },
        think("Stuffy."), say("Wait"), call("c1"), say(", I open"), think(" Two?"), call("c2"), say(" both."),
        result("c1"), result("c2"), say("Done."), say("Really."),
    ]);
    let (status, answer) = site.ask_at(PATH, json!({ "input": input, "tools": tools() })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let call = |id| json!({ "id": id, "type": "function", "function": { "name": "open_window", "arguments": "{}" } });
    let result = |id| json!({ "role": "tool", "content": "open", "tool_call_id": id });
    let said = json!({
        "role": "assistant",
        "content": "Wait, I open both.",
        "tool_calls": [call("c1"), call("c2")],
        "reasoning_content": "Stuffy. Two?",
    });
    let text = |text| json!({ "role": "assistant", "content": text });
    assert_eq!(
        site.model_saw()[0]["messages"].as_array().unwrap()[2..],
        [said, result("c1"), result("c2"), text("Done."), text("Really.")]
    );
}

#[tokio::test]
async fn s14_citations_and_images_have_their_places() {
    let citation = |url| json!({ "type": "url_citation", "url_citation": { "url": url, "title": "T", "start_index": 0, "end_index": 4 } });
    let image = |url| json!({ "type": "image_url", "image_url": { "url": url } });
    let found = json!({
        "annotations": [citation("http://a/"), citation("http://b/"), { "type": "of_tomorrow" }],
        "images": [image("data:image/png;base64,aGk="), image("http://elsewhere/a.png")],
    });
    let step = || Step {
        extra: found.as_object().unwrap().clone(),
        ..Step::say("Rome is old.")
    };
    let site = Site::scripted([step(), step(), Step::say("ok")]).await;
    let (status, response) = site.ask_at(PATH, json!({ "input": "Rome?" })).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    let cited = |url| json!({ "type": "url_citation", "start_index": 0, "end_index": 4, "title": "T", "url": url });
    let cited = json!([cited("http://a/"), cited("http://b/")]);
    let items = response["output"].as_array().unwrap();
    let [message, image] = &items[..] else {
        panic!("{response}");
    };
    assert_eq!(message["content"][0]["annotations"], cited);
    let drawn = json!(["image_generation_call", "completed", "png", "aGk="]);
    assert_eq!(
        json!([image["type"], image["status"], image["output_format"], image["result"]]),
        drawn
    );

    let events = stream(&site, json!({ "input": "Rome?" })).await;
    assert_eq!(
        kinds(&events)[2..],
        [
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "image_generation_call.completed",
            "output_item.done",
            "completed",
        ]
    );
    let told = events
        .iter()
        .filter(|(kind, _)| kind == "response.output_text.annotation.added");
    let told: Vec<_> = told
        .map(|(_, data)| (&data["annotation_index"], &data["annotation"]))
        .collect();
    assert_eq!(told, [(&json!(0), &cited[0]), (&json!(1), &cited[1])]);
    let (_, added) = events
        .iter()
        .rfind(|(kind, _)| kind == "response.output_item.added")
        .unwrap();
    assert_eq!(
        added["item"]["result"],
        Value::Null,
        "the image comes once it is complete"
    );

    let mut input = items.clone();
    input.push(json!({ "role": "user", "content": "older?" }));
    let (status, answer) = site.ask_at(PATH, json!({ "input": input })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        site.model_saw()[2]["messages"].as_array().unwrap()[1..],
        [
            json!({ "role": "assistant", "content": "Rome is old." }),
            json!({ "role": "user", "content": "older?" })
        ]
    );
}
