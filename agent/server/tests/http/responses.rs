//! The Responses API: the same turns as chat completions in another protocol, and conversations that are kept.

mod items;
mod stored;

use reqwest::StatusCode;
use rockbot_fakes::{Call, Refusal, Step};
use serde_json::{Value, json};

use crate::site::Site;

const PATH: &str = "/a/responses";

/// The events of a stream: their types, and what they say.
async fn stream(site: &Site, mut body: Value) -> Vec<(String, Value)> {
    body["stream"] = json!(true);
    let response = site.post(PATH, &body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let events: Vec<_> = text
        .split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| {
            let (kind, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            (kind.strip_prefix("event: ").unwrap().to_owned(), data)
        })
        .collect();
    for (number, (kind, data)) in events.iter().enumerate() {
        assert_eq!(
            (&data["type"], &data["sequence_number"]),
            (&json!(kind), &json!(number))
        );
    }
    events
}

/// The types of events, those that follow each other taken together.
fn kinds(events: &[(String, Value)]) -> Vec<&str> {
    let mut kinds: Vec<_> = events
        .iter()
        .map(|(kind, _)| kind.strip_prefix("response.").unwrap_or(kind))
        .collect();
    kinds.dedup();
    kinds
}

fn joined(events: &[(String, Value)], kind: &str) -> String {
    let deltas = events.iter().filter(|(other, _)| other == kind);
    deltas.map(|(_, data)| data["delta"].as_str().unwrap()).collect()
}

fn text(response: &Value) -> String {
    let items = response["output"].as_array().unwrap().iter();
    let parts = items.flat_map(|item| item["content"].as_array().cloned().unwrap_or_default());
    let texts = parts.filter(|part| part["type"] == "output_text");
    texts.map(|part| part["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_answer_at_once_is_a_response_object() {
    let script = Call::new("execute_python_script", json!({ "script": "42" }));
    let site = Site::scripted([Step::call([script]), Step::say("It is 42.")]).await;
    let body = json!({
        "input": "What is it?", "instructions": "Be brief.", "metadata": { "k": "v" }, "temperature": 0.5,
        "max_output_tokens": 100, "user": "someone", "reasoning": { "effort": "low" }, "a_field_of_tomorrow": 1,
        "text": { "format": { "type": "json_schema", "name": "n", "schema": {}, "strict": true }, "verbosity": "low" },
    });
    let (status, answer) = site.ask_at("/a/responses/", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let id = answer["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && answer["created_at"].is_u64() && answer["completed_at"].is_u64());
    for (field, expected) in [
        ("object", json!("response")),
        ("status", json!("completed")),
        ("model", json!("a")),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("instructions", json!("Be brief.")),
        ("metadata", json!({ "k": "v" })),
        ("parallel_tool_calls", json!(true)),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("store", json!(true)),
    ] {
        assert_eq!(answer[field], expected, "{field}");
    }
    let item = &answer["output"][0];
    let part = json!({ "type": "output_text", "text": "It is 42.", "annotations": [], "logprobs": [] });
    assert_eq!(
        answer["output"].as_array().unwrap().len(),
        1,
        "the agent's own tools stay inside: {answer}"
    );
    assert_eq!(
        (&item["type"], &item["role"], &item["status"], &item["content"]),
        (
            &json!("message"),
            &json!("assistant"),
            &json!("completed"),
            &json!([part])
        )
    );
    let usage = &answer["usage"];
    assert_eq!(
        usage["input_tokens_details"],
        json!({ "cached_tokens": 2, "cache_write_tokens": 0 })
    );
    assert!(usage["output_tokens_details"]["reasoning_tokens"].is_u64(), "{usage}");
    let sum = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);

    let saw = &site.model_saw()[0];
    assert_eq!(
        saw["messages"][0],
        json!({ "role": "system", "content": "You are a.\n\nBe brief." })
    );
    assert_eq!(saw["messages"][1], json!({ "role": "user", "content": "What is it?" }));
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": {}, "strict": true } });
    for (field, expected) in [
        ("response_format", format),
        ("verbosity", json!("low")),
        ("reasoning_effort", json!("low")),
        ("max_tokens", json!(100)),
        ("temperature", json!(0.5)),
        ("user", json!("someone")),
        ("metadata", Value::Null),
        ("a_field_of_tomorrow", Value::Null),
    ] {
        assert_eq!(saw[field], expected, "{field}");
    }
    site.metric(r#"rockbot_requests_total{agent="a",status="ok"} 1"#).await;
}

#[tokio::test]
async fn a_stream_tells_of_thoughts_and_text_item_by_item() {
    let step = Step {
        reasoning: Some("Well … ".into()),
        piece_bytes: Some(5),
        ..Step::say("Grüße an alle")
    };
    let site = Site::scripted([step]).await;
    let events = stream(&site, json!({ "input": "hello" })).await;
    let item = |delta, done| {
        let begin = ["output_item.added", "content_part.added"];
        [&begin[..], &[delta, done, "content_part.done", "output_item.done"]].concat()
    };
    let expected = [
        vec!["created", "in_progress"],
        item("reasoning_text.delta", "reasoning_text.done"),
        item("output_text.delta", "output_text.done"),
        vec!["completed"],
    ]
    .concat();
    assert_eq!(kinds(&events), expected);
    assert_eq!(joined(&events, "response.output_text.delta"), "Grüße an alle");
    assert_eq!(joined(&events, "response.reasoning_text.delta"), "Well … ");
    let begun = &events[0].1["response"];
    assert_eq!(
        (&begun["status"], &begun["output"]),
        (&json!("in_progress"), &json!([]))
    );
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["id"], begun["id"]);
    for (kind, data) in &events {
        if let Some(index) = data["output_index"].as_u64() {
            let item = &response["output"][index as usize];
            let id = if data["item"].is_object() {
                &data["item"]["id"]
            } else {
                &data["item_id"]
            };
            assert_eq!(id, &item["id"], "{kind}");
            if kind == "response.output_item.done" {
                assert_eq!(&data["item"], item);
            }
        }
    }
    assert_eq!(
        response["output"][0]["content"],
        json!([{ "type": "reasoning_text", "text": "Well … " }])
    );
    let (_, kept) = site
        .get_json(&format!("{PATH}/{}", response["id"].as_str().unwrap()))
        .await;
    assert_eq!(&kept, response, "what is kept is what was sent");
}

#[tokio::test]
async fn s8_calls_of_client_tools_go_round() {
    let open = |window: &str| Call::new("open_window", json!({ "window": window }));
    let secret = Call::new("execute_python_script", json!({ "script": "secret" }));
    let mixed = Step {
        content: Some("Wait.".into()),
        ..Step::call([secret, open("left"), open("right")])
    };
    let site = Site::scripted([mixed, Step::say("Both are open."), Step::say("Both are open.")]).await;
    let tools = json!([{ "type": "function", "name": "open_window", "parameters": {}, "strict": true }]);
    let choice = json!({ "type": "function", "name": "open_window" });
    let body = json!({ "input": "air", "tools": tools, "tool_choice": choice });
    let events = stream(&site, body).await;
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["status"], "completed");
    assert!(!response.to_string().contains("secret"), "{response}");
    let items = response["output"].as_array().unwrap();
    let calls: Vec<_> = items.iter().filter(|item| item["type"] == "function_call").collect();
    let told: Vec<_> = calls
        .iter()
        .map(|call| (&call["name"], &call["arguments"], &call["status"]))
        .collect();
    let expected = |arguments| (json!("open_window"), json!(arguments), json!("completed"));
    let expected = [expected(r#"{"window":"left"}"#), expected(r#"{"window":"right"}"#)];
    assert_eq!(told, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    for call in &calls {
        let done = events
            .iter()
            .find(|(kind, data)| kind == "response.function_call_arguments.done" && data["item_id"] == call["id"]);
        assert_eq!(done.unwrap().1["arguments"], call["arguments"]);
    }
    let saw = &site.model_saw()[0];
    assert_eq!(saw["tools"][1]["function"]["strict"], true);
    assert_eq!(
        saw["tool_choice"],
        json!({ "type": "function", "function": { "name": "open_window" } })
    );

    // A client that keeps the history itself sends the items back; another names the response.
    let outputs = calls
        .iter()
        .map(|call| json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "open" }));
    let outputs: Vec<_> = outputs.collect();
    let history: Vec<_> = [json!({ "role": "user", "content": "air" })]
        .into_iter()
        .chain(items.iter().cloned())
        .chain(outputs.clone())
        .collect();
    for body in [
        json!({ "input": history, "tools": tools, "store": false }),
        json!({ "input": outputs, "tools": tools, "previous_response_id": response["id"] }),
    ] {
        let (status, answer) = site.ask_at(PATH, body).await;
        assert_eq!(
            (status, text(&answer)),
            (StatusCode::OK, "Both are open.".to_owned()),
            "{answer}"
        );
    }
    let [_, by_history, by_reference] = &site.model_saw()[..] else {
        panic!("not three requests");
    };
    assert_eq!(by_history["messages"], by_reference["messages"]);
    let messages = by_history["messages"].as_array().unwrap();
    let roles: Vec<_> = messages
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(
        roles,
        ["system", "user", "assistant", "tool", "tool", "tool"],
        "nothing is lost: {messages:?}"
    );
    assert_eq!(messages[2]["tool_calls"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_choice_among_tools_reaches_the_model_in_its_own_shape() {
    let site = Site::scripted([Step::say("ok")]).await;
    let tool = |name| json!({ "type": "function", "name": name, "parameters": {} });
    let choice = json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "function", "name": "near" }] });
    let body = json!({ "input": "x", "tools": [tool("near"), tool("far")], "tool_choice": choice });
    let (status, answer) = site.ask_at(PATH, body).await;
    assert_eq!((status, &answer["tool_choice"]), (StatusCode::OK, &choice));
    let near = json!([{ "type": "function", "function": { "name": "near" } }]);
    assert_eq!(
        site.model_saw()[0]["tool_choice"],
        json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": near } })
    );
    for (mode, tool, param) in [
        (
            "none",
            json!({ "type": "function", "name": "near" }),
            "tool_choice.mode",
        ),
        ("auto", json!({ "type": "function" }), "tool_choice.tools[0].name"),
    ] {
        let choice = json!({ "type": "allowed_tools", "mode": mode, "tools": [tool] });
        let (status, error) = site.ask_at(PATH, json!({ "input": "x", "tool_choice": choice })).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param))
        );
    }
}

#[tokio::test]
async fn every_kind_of_input_reaches_the_model() {
    let site = Site::scripted([Step::say("ok")]).await;
    let input = json!([
        { "role": "developer", "content": "rules" },
        { "type": "message", "role": "user", "content": [
            { "type": "input_text", "text": "look" },
            { "type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low" },
            { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk=" },
            { "type": "input_audio", "input_audio": { "data": "aGk=", "format": "wav" } },
        ] },
        { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "hm" }], "encrypted_content": "theirs" },
        { "type": "reasoning", "id": "rs_2", "summary": [{ "type": "summary_text", "text": "ah" }] },
        { "type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
          "content": [{ "type": "output_text", "text": "I look.", "annotations": [] }] },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "reasoning", "id": "rs_3", "summary": [{ "type": "summary_text", "text": "twice" }] },
        { "type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "one" },
        { "type": "function_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "two" }] },
    ]);
    let (status, answer) = site.ask_at(PATH, json!({ "input": input })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let call = |id| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let result = |id, content| json!({ "role": "tool", "content": content, "tool_call_id": id });
    let parts = json!([
        { "type": "text", "text": "look" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=", "detail": "low" } },
        { "type": "file", "file": { "file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf" } },
        { "type": "input_audio", "input_audio": { "data": "aGk=", "format": "wav" } },
    ]);
    let expected = json!([
        { "role": "developer", "content": "You are a.\n\nrules" },
        { "role": "user", "content": parts },
        { "role": "assistant", "content": "I look.", "tool_calls": [call("c1"), call("c2")],
          "reasoning_content": "hm\n\nah\n\ntwice" },
        result("c1", "one"),
        result("c2", "two"),
    ]);
    assert_eq!(site.model_saw()[0]["messages"], expected);
}

#[tokio::test]
async fn s11_what_cannot_be_done_is_refused_with_its_field() {
    let site = Site::scripted([]).await;
    for (body, param, words) in [
        (json!({}), "input", "required"),
        (json!({ "input": 5 }), "input", "a string or a list of items"),
        (json!({ "input": [] }), "input", "at least one"),
        (json!({ "input": "x", "background": true }), "background", "at once"),
        (
            json!({ "input": "x", "conversation": "conv_1" }),
            "conversation",
            "previous_response_id",
        ),
        (
            json!({ "input": "x", "tools": [{ "type": "function", "name": "execute_python_script" }] }),
            "tools[0].name",
            "choose another",
        ),
        (
            json!({ "input": "x", "tools": [{ "type": "web_search" }] }),
            "tools[0].type",
            "type function",
        ),
        (
            json!({ "input": "x", "tools": [{ "type": "function" }] }),
            "tools[0]",
            "name",
        ),
        (
            json!({ "input": "x", "tool_choice": "sometimes" }),
            "tool_choice",
            "auto, none, required",
        ),
        (
            json!({ "input": "x", "text": { "format": { "type": "xml" } } }),
            "text.format.type",
            "json_schema",
        ),
        (
            json!({ "input": [{ "type": "item_reference", "id": "x" }] }),
            "input[0].type",
            "function_call_output",
        ),
        (
            json!({ "input": [{ "role": "tool", "content": "x" }] }),
            "input[0].role",
            "developer",
        ),
        (
            json!({ "input": [{ "role": "user", "content": 5 }] }),
            "input[0].content",
            "string",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }] }),
            "input[0].content[0].image_url",
            "URL",
        ),
        (
            json!({ "input": "x", "max_output_tokens": -1 }),
            "max_output_tokens",
            "invalid value",
        ),
    ] {
        let (status, error) = site.ask_at(PATH, body.clone()).await;
        let error = &error["error"];
        assert_eq!(
            (status, &error["param"]),
            (StatusCode::BAD_REQUEST, &json!(param)),
            "{body}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains(words), "{body}: {error}");
    }
    assert_eq!(
        site.ask_at("/nobody/responses", json!({ "input": "x" })).await.0,
        StatusCode::NOT_FOUND
    );
    assert!(site.model_saw().is_empty());
}

#[tokio::test]
async fn s11_errors_come_as_responses_before_the_answer_and_as_events_in_it() {
    let refusal = Refusal {
        status: 401,
        message: None,
        body: None,
        retry_after: None,
    };
    let refused = Step {
        error: Some(refusal),
        ..Step::default()
    };
    let cut = Step {
        error_event: Some(json!({ "error": { "message": "overloaded", "code": "server_error" } })),
        ..Step::say("So far")
    };
    let site = Site::scripted([refused, cut]).await;
    let (status, error) = site.ask_at(PATH, json!({ "input": "x", "stream": true })).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::BAD_GATEWAY, &json!("model_authentication"))
    );
    let events = stream(&site, json!({ "input": "x" })).await;
    let [.., (one, error), (other, failed)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((one.as_str(), other.as_str()), ("error", "response.failed"));
    assert_eq!(error["code"], "model_overloaded");
    let response = &failed["response"];
    assert_eq!(
        (&response["status"], &response["error"]["code"]),
        (&json!("failed"), &json!("model_overloaded"))
    );
    assert_eq!(
        (text(response), &response["output"][0]["status"]),
        ("So far".to_owned(), &json!("incomplete"))
    );
    site.metric(r#"rockbot_requests_total{agent="a",status="server_error"} 2"#)
        .await;
}

#[tokio::test]
async fn an_answer_that_was_cut_off_says_so() {
    for (reason, detail) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let step = Step {
            finish_reason: Some(reason.into()),
            ..Step::say("So f")
        };
        let site = Site::scripted([step]).await;
        let events = stream(&site, json!({ "input": "x" })).await;
        let (kind, last) = events.last().unwrap();
        let response = &last["response"];
        assert_eq!(kind, "response.incomplete");
        assert_eq!(
            (
                &response["status"],
                &response["incomplete_details"],
                &response["output"][0]["status"]
            ),
            (&json!("incomplete"), &json!({ "reason": detail }), &json!("incomplete"))
        );
    }
}
