//! Answers: at once and streamed, their usage, and what of a request reaches the model.

use reqwest::StatusCode;
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};

use crate::site::{Site, agent, chunks, events, text, user};

#[tokio::test]
async fn s1_an_answer_at_once_adds_up_the_usage_of_all_rounds() {
    let script = Call::new("execute_python_script", json!({ "script": "42" }));
    let site = Site::scripted([Step::call([script]), Step::say("It is 42.")]).await;
    let (status, answer) = site.ask_at("/a/chat/completions/", user("What is it?")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "a");
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": "It is 42." },
        "logprobs": null,
        "finish_reason": "stop",
    });
    assert_eq!(answer["choices"], json!([choice]));
    // The scripted model counts words read and deltas written: 6 + 5 in the first round, 7 + 4 in the second.
    let usage = &answer["usage"];
    let counted = ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| usage[name].as_u64().unwrap());
    assert_eq!(counted[0] + counted[1], counted[2], "{usage}");
    assert_eq!(counted[0], 6 + 7, "{usage}");
    assert_eq!(
        usage["prompt_tokens_details"]["cached_tokens"], 2,
        "details are added as well: {usage}"
    );
    let line = format!(r#"rockbot_tokens_total{{agent="a",kind="completion"}} {}"#, counted[1]);
    site.metric(&line).await;
    site.metric(r#"rockbot_requests_total{agent="a",status="ok"} 1"#).await;
}

#[tokio::test]
async fn s2_a_stream_is_what_openai_sends() {
    let step = Step {
        reasoning: Some("Well … ".into()),
        piece_bytes: Some(5),
        ..Step::say("Grüße an alle")
    };
    let site = Site::scripted([step]).await;
    let mut body = user("hello");
    body["stream_options"] = json!({ "include_usage": true });
    let chunks = chunks(&site.stream(body).await);
    let first = &chunks[0];
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(
            ["id", "created", "model"].map(|key| &chunk[key]),
            ["id", "created", "model"].map(|key| &first[key])
        );
    }
    assert_eq!(
        first["choices"][0]["delta"],
        json!({ "role": "assistant", "content": "" })
    );
    assert_eq!(text(&chunks), "Grüße an alle");
    let reasoning: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["reasoning_content"].as_str())
        .collect();
    assert_eq!(reasoning, "Well … ");
    let (usage, deltas) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].is_u64(), "{usage}");
    assert!(
        deltas.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)),
        "{deltas:?}"
    );
    let reasons: Vec<_> = deltas
        .iter()
        .map(|chunk| &chunk["choices"][0]["finish_reason"])
        .collect();
    let (last, others) = reasons.split_last().unwrap();
    assert!(
        *last == "stop" && others.iter().all(|reason| reason.is_null()),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn s2_usage_comes_only_when_asked_for_and_known() {
    let site = Site::scripted([
        Step::say("a"),
        Step {
            hide_usage: true,
            ..Step::say("b")
        },
    ])
    .await;
    assert!(
        chunks(&site.stream(user("x")).await)
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
    let mut body = user("x");
    body["stream_options"] = json!({ "include_usage": true });
    let quiet = chunks(&site.stream(body).await);
    assert!(
        quiet.iter().all(|chunk| chunk["choices"] != json!([])),
        "a provider that is quiet about usage: {quiet:?}"
    );
}

#[tokio::test]
async fn s3_the_request_reaches_the_model_and_unknown_fields_with_it() {
    let site = Site::scripted([Step::say("ok"), Step::say("ok")]).await;
    let mut body = user("hello");
    let fields = json!({
        "temperature": 0.5, "max_tokens": 100, "top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": 0.2,
        "stop": ["END"], "user": "someone", "a_field_of_tomorrow": { "x": [1, 2] }, "seed": 7,
    });
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body["model"] = json!("whatever");
    assert_eq!(site.ask(body.clone()).await.0, StatusCode::OK);
    let mut config = agent("a", &site.model.base_url("scripted"));
    config["model"]["temperature"] = json!(0.1);
    config["model"]["maxTokens"] = json!(7);
    site.set(vec![config]);
    assert_eq!(site.ask(user("hello")).await.0, StatusCode::OK);

    let saw = site.model_saw();
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&saw[0][name], value, "{name}");
    }
    assert_eq!(saw[0]["model"], "scripted", "the agent's own model");
    assert_eq!(saw[0]["stream_options"], json!({ "include_usage": true }));
    assert_eq!(
        saw[0]["messages"][0],
        json!({ "role": "system", "content": "You are a." })
    );
    assert_eq!(saw[0]["tools"][0]["function"]["name"], "execute_python_script");
    assert_eq!(
        (&saw[1]["temperature"], &saw[1]["max_tokens"]),
        (&json!(0.1), &json!(7)),
        "the agent's defaults"
    );
    let headers = &site.model.requests("scripted")[0].headers;
    assert_eq!(headers["authorization"], "Bearer sk-test");
}

#[tokio::test]
async fn s14_openais_own_paths_find_the_agent_by_its_model_name() {
    let site = Site::start().await;
    let url = site.model.base_url("echo");
    site.set(vec![agent("a", &url), agent("b", &url)]);
    let (_, models) = site.get_json("/v1/models").await;
    let ids: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| &model["id"])
        .collect();
    assert_eq!(
        (&models["object"], ids),
        (&json!("list"), vec![&json!("a"), &json!("b")])
    );
    let (_, model) = site.get_json("/v1/models/b").await;
    assert_eq!((&model["id"], &model["object"]), (&json!("b"), &json!("model")));
    assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");

    let named = |name: &str| json!({ "model": name, "messages": [{ "role": "user", "content": "hi" }] });
    let path = "/v1/chat/completions";
    let (_, answer) = site.ask_at(path, named("b")).await;
    assert_eq!(
        (&answer["model"], &answer["choices"][0]["message"]["content"]),
        (&json!("b"), &json!("hi"))
    );
    let (status, error) = site.ask_at(path, named("nobody")).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("model_not_found"))
    );
    let (status, error) = site.ask_at(path, user("hi")).await;
    assert_eq!(
        (status, &error["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("model"))
    );
    site.set(vec![agent("b", &url)]);
    assert_eq!(
        site.ask_at(path, user("hi")).await.1["model"],
        "b",
        "the only agent needs no name"
    );
}

#[tokio::test]
async fn s4_s5_s12_the_server_describes_itself() {
    let site = Site::start().await;
    let mut long = agent("long", "http://127.0.0.1:1");
    long["instructions"] = json!("ü".repeat(201));
    let mut described = agent("described", "http://127.0.0.1:1");
    described["description"] = json!("Does things.");
    described["tools"] = json!({});
    site.set(vec![long, described]);
    let (_, root) = site.get_json("/").await;
    assert_eq!(root["agents"], json!(["described", "long"]));
    assert_eq!(root["endpoints"]["chat_completions"], "/{agent}/chat/completions");
    let (_, info) = site.get_json("/long/").await;
    assert_eq!(info["description"], format!("{}...", "ü".repeat(200)));
    assert_eq!(info["capabilities"], json!(["scripts:execute_python_script"]));
    assert_eq!(info["skills"], json!(["scripts"]));
    let (_, info) = site.get_json("/described").await;
    assert_eq!(
        info,
        json!({ "name": "described", "description": "Does things.", "capabilities": [], "skills": [] })
    );
    for path in ["/health", "/ready", "/live"] {
        assert_eq!(site.get_json(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn s9_a_request_has_an_identity() {
    let site = Site::scripted([Step::say("a"), Step::say("b")]).await;
    let request = site
        .post("/a/chat/completions", &user("x"))
        .header("x-request-id", "mine");
    assert_eq!(request.send().await.unwrap().headers()["x-request-id"], "mine");
    let request = site.post("/a/chat/completions", &user("x"));
    assert!(request.send().await.unwrap().headers()["x-request-id"].len() > 30);
}

#[tokio::test]
async fn a_server_that_drains_finishes_what_runs() {
    let site = Site::scripted([Step {
        pause_ms: 60,
        ..Step::say("one two three four five")
    }])
    .await;
    let body = json!({ "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    let response = site.post("/a/chat/completions", &body).send().await.unwrap();
    site.shutdown.cancel();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(site.get_text("/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(&chunks(&events(response).await)), "one two three four five");
    site.serving.await.unwrap().unwrap();
}
