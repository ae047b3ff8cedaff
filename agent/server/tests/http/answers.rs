//! Answers: at once and streamed, their usage, and what of a request reaches the model.

use reqwest::StatusCode;
use rockbot_agent::sdk::{Context, skill};
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
        json!({
            "name": "described", "description": "Does things.", "capabilities": [], "skills": [], "pricing": {},
        })
    );
    let (_, health) = site.get_json("/health/detailed").await;
    assert_eq!(health["server_status"], "healthy");
    assert_eq!(
        health["agents"]["long"],
        json!({ "status": "healthy", "skills": 0, "tools": 1, "problems": [] })
    );
    for path in ["/health", "/ready", "/live"] {
        assert_eq!(site.get_json(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn s12_detailed_health_names_what_is_wrong() {
    let site = Site::start().await;
    let mut ill = agent("ill", "http://127.0.0.1:1");
    ill["model"]["apiKeyFile"] = json!("/nonexistent/key");
    ill["tools"]["mcp"] = json!([{ "name": "away", "url": "http://127.0.0.1:1/mcp", "toolTimeoutSeconds": 1 }]);
    site.set(vec![ill, agent("well", "http://127.0.0.1:1")]);
    let (status, health) = site.get_json("/health/detailed").await;
    assert_eq!((status, &health["server_status"]), (StatusCode::OK, &json!("degraded")));
    assert_eq!(health["agents"]["well"]["status"], "healthy");
    let problems = &health["agents"]["ill"]["problems"];
    let expected = [
        "no connection to the MCP server \"away\"",
        "the API key of the model cannot be read",
    ];
    assert_eq!(problems, &json!(expected));
}

#[tokio::test]
async fn s6_agents_are_found_by_what_they_are_for() {
    let site = Site::start().await;
    let describe = |name: &str, description: &str, instructions: &str| {
        let mut config = agent(name, "http://127.0.0.1:1");
        config["description"] = json!(description);
        config["instructions"] = json!(instructions);
        config["tools"] = json!({});
        config
    };
    let mut runs_scripts = describe("calculator", "Computes.", "You are exact.");
    runs_scripts["tools"] = json!({ "scripts": { "timeoutSeconds": 30 } });
    site.set(vec![
        describe("travel", "Books trains and flights.", "You know every timetable."),
        describe(
            "chef",
            "Writes recipes for dinner.",
            "You cook Italian food, never on trains.",
        ),
        describe("poet", "Rhymes.", "You are the poet of the house."),
        runs_scripts,
    ]);
    let names = async |query: &str| {
        let (status, found) = site.get_json(query).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        let agents = found["agents"].as_array().unwrap();
        assert_eq!(found["total_results"], agents.len());
        agents
            .iter()
            .map(|agent| agent["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("/?search=Which%20train%20takes%20me%20to%20Rome%3F").await,
        ["travel", "chef"]
    );
    assert_eq!(names("/?search=italian%20recipe&top_k=1").await, ["chef"]);
    assert_eq!(names("/?search=python").await, ["calculator"], "tools count");
    assert!(
        names("/?search=the%20of%20me").await.is_empty(),
        "words without meaning find nothing"
    );
    assert!(names("/?search=zebra").await.is_empty());
    let (_, found) = site.get_json("/?search=recipes").await;
    assert_eq!(found["query"], "recipes");
    let chef = &found["agents"][0];
    assert!(
        chef["url"].as_str().unwrap().ends_with("/chef")
            && chef["url"].as_str().unwrap().starts_with("http://127.0.0.1:")
    );
    assert_eq!(
        (&chef["description"], &chef["min_balance"]),
        (&json!("Writes recipes for dinner."), &json!(0))
    );
    let behind_tls = site.get("/?search=recipes").header("x-forwarded-proto", "https");
    let found: Value = behind_tls.send().await.unwrap().json().await.unwrap();
    assert!(
        found["agents"][0]["url"]
            .as_str()
            .unwrap()
            .starts_with("https://127.0.0.1:")
    );
    let (status, error) = site.get_json("/?search=x&top_k=many").await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_value"))
    );
}

/// Says who asks.
struct Mirror;

#[skill]
impl Mirror {
    /// Is for owners.
    #[tool(scope = "owner")]
    fn keep(&self) {}

    /// Says who asks.
    #[tool]
    fn look(&self, context: &Context) -> Value {
        json!([
            context.request_id,
            context.user_id,
            context.payment_user_id,
            context.origin_user_id,
            context.agent_owner_id,
        ])
    }
}

#[tokio::test]
async fn s9_skills_know_who_asks() {
    let look = || Step::call([Call::new("look", json!({}))]);
    let site = Site::with_skills(vec![std::sync::Arc::new(Mirror)]).await;
    let url = site
        .model
        .script("scripted", [look(), Step::say("a"), look(), Step::say("b")]);
    site.set(vec![agent("a", &url)]);
    let mut request = site.post("/a/chat/completions", &user("x"));
    for (name, value) in [
        ("x-request-id", "r1"),
        ("x-user-id", "ada"),
        ("x-payment-user-id", "bob"),
        ("x-origin-user-id", "cy"),
        ("x-agent-owner-id", "di"),
    ] {
        request = request.header(name, value);
    }
    request.send().await.unwrap();
    site.post("/a/chat/completions", &user("x"))
        .header("x-request-id", "r2")
        .send()
        .await
        .unwrap();
    let results: Vec<_> = site
        .model_saw()
        .iter()
        .filter_map(|request| request["messages"][3]["content"].as_str().map(str::to_owned))
        .collect();
    let anonymous = r#"["r2","anonymous","anonymous","anonymous","anonymous"]"#;
    assert_eq!(results, [r#"["r1","ada","bob","cy","di"]"#, anonymous]);
}

#[tokio::test]
async fn a_request_too_many_is_told_to_come_back() {
    let slow = Step {
        pause_ms: 60,
        ..Step::say("one two three four five")
    };
    let site = Site::start().await;
    let mut config = agent("a", &site.model.script("scripted", [slow, Step::say("free")]));
    config["limits"] = json!({ "maxConcurrentRequests": 1 });
    site.set(vec![config]);
    let body = json!({ "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    let running = site.post("/a/chat/completions", &body).send().await.unwrap();
    let refused = site.post("/a/chat/completions", &user("x")).send().await.unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "too_many_requests");
    assert_eq!(text(&chunks(&events(running).await)), "one two three four five");
    site.metric(r#"rockbot_active_requests{agent="a"} 0"#).await;
    assert_eq!(site.ask(user("x")).await.0, StatusCode::OK, "the place is free again");
}

#[tokio::test]
async fn d6_scope_comes_from_the_key_alone() {
    let site = Site::with_skills(vec![std::sync::Arc::new(Mirror)]).await;
    let mut config = agent("a", &site.model.base_url("echo"));
    config["tools"] = json!({});
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "sk-1").unwrap();
    config["access"] = json!({ "anonymous": false, "apiKeys": [{ "name": "k", "scope": "owner", "file": file }] });
    site.set(vec![config]);
    let ask = async |key: Option<&str>| {
        let mut request = site
            .post("/a/chat/completions", &user("x"))
            .header("x-agent-owner-id", "di")
            .header("x-user-id", "di");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    for key in [None, Some("sk-2")] {
        let (status, error) = ask(key).await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (StatusCode::UNAUTHORIZED, &json!("invalid_api_key"))
        );
    }
    assert_eq!(ask(Some("sk-1")).await.0, StatusCode::OK);
    std::fs::write(&file, "sk-2").unwrap();
    assert_eq!(
        ask(Some("sk-1")).await.0,
        StatusCode::UNAUTHORIZED,
        "a new key counts at once"
    );
    assert_eq!(ask(Some("sk-2")).await.0, StatusCode::OK);
    let offered: Vec<_> = site
        .model
        .requests("echo")
        .iter()
        .map(|request| request.body["tools"][0].clone())
        .collect();
    assert!(
        offered.len() == 2 && offered.iter().all(|tool| tool["function"]["name"] == "keep"),
        "{offered:?}"
    );
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
    let too_late = site.get("/live");
    site.serving.await.unwrap();
    assert!(too_late.send().await.unwrap_err().is_connect());
}
