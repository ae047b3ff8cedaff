//! Errors: of the client, of the model before and in the middle of an answer, and what is never told.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rockbot_fakes::{Call, Outcome, Step};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, agent, user};

/// OpenAI's error object has four keys, nullable ones included.
fn is_error(answer: &Value, code: &str) {
    let error = answer["error"]
        .as_object()
        .unwrap_or_else(|| panic!("no error object: {answer}"));
    assert!(
        ["message", "type", "param", "code"]
            .iter()
            .all(|key| error.contains_key(*key)),
        "{answer}"
    );
    assert_eq!(error["code"], code, "{answer}");
}

#[tokio::test]
async fn s11_wrong_requests_name_the_field() {
    let site = Site::scripted([]).await;
    let cases = [
        (json!({ "messages": "hi" }), "messages", "invalid_value"),
        (json!({ "messages": [] }), "messages", "invalid_value"),
        (
            json!({ "messages": [{ "content": "hi" }] }),
            "messages[0]",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": 5 }] }),
            "messages[0].content",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user" }], "stream": "yes" }),
            "stream",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user" }], "temperature": "hot" }),
            "temperature",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user" }], "stop": 5 }),
            "stop",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user" }], "tools": [{}] }),
            "tools[0]",
            "invalid_value",
        ),
        (
            json!({ "messages": [{ "role": "user" }], "n": 2 }),
            "n",
            "invalid_value",
        ),
    ];
    for (body, param, code) in cases {
        let (status, answer) = site.ask(body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        is_error(&answer, code);
        assert_eq!(answer["error"]["param"], param, "{answer}");
        assert_eq!(answer["error"]["type"], "http_error");
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{param}: ")),
            "{answer}"
        );
    }
    assert_eq!(site.model_saw(), [] as [Value; 0]);
}

#[tokio::test]
async fn s7_s11_wrong_paths_methods_and_bodies() {
    let site = Site::scripted([]).await;
    let (status, answer) = site.ask_at("/nobody/chat/completions", user("hi")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    is_error(&answer, "agent_not_found");
    for (path, status, code) in [
        ("/nobody", StatusCode::NOT_FOUND, "agent_not_found"),
        ("/a/b/c", StatusCode::NOT_FOUND, "not_found"),
        ("/v1/models/nobody", StatusCode::NOT_FOUND, "model_not_found"),
        (
            "/a/chat/completions",
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
        ),
    ] {
        let (answered, answer) = site.get_json(path).await;
        assert_eq!(answered, status, "{path}");
        is_error(&answer, code);
    }
    for (body, status, code) in [
        ("{\"messages\":".to_owned(), StatusCode::BAD_REQUEST, "invalid_json"),
        ("{} {}".to_owned(), StatusCode::BAD_REQUEST, "invalid_value"),
        (
            format!("\"{}\"", "x".repeat(17 << 20)),
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
        ),
    ] {
        let request = site.post("/a/chat/completions", &Value::Null).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        is_error(&response.json().await.unwrap(), code);
    }
}

#[tokio::test]
async fn s11_a_request_too_large_is_told_what_is_too_much() {
    let site = Site::scripted([Step::say("fine"), Step::say("fine")]).await;
    let message = |_| json!({ "role": "user", "content": "x" });
    let tool = |n| json!({ "type": "function", "function": { "name": format!("t{n}") } });
    let messages = |n: usize| json!({ "messages": (0..n).map(message).collect::<Vec<_>>() });
    let tools = |n: usize| json!({ "messages": [message(0)], "tools": (0..n).map(tool).collect::<Vec<_>>() });
    assert_eq!(site.ask(messages(4096)).await.0, StatusCode::OK);
    assert_eq!(site.ask(tools(128)).await.0, StatusCode::OK);
    for (body, param) in [(messages(4097), "messages"), (tools(129), "tools")] {
        let (status, answer) = site.ask(body).await;
        assert_eq!(
            (status, &answer["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param))
        );
        is_error(&answer, "invalid_value");
    }
    for values in ["0,", "[0],"] {
        let many = format!(r#"{{"messages":[],"x":[{}0]}}"#, values.repeat(200_000));
        let request = site.post("/a/chat/completions", &Value::Null).body(many);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        is_error(&response.json().await.unwrap(), "body_too_large");
    }
    for (count, length) in [(1, 40 << 10), (80, 1), (150, 1)] {
        let mut request = site.post("/a/chat/completions", &user("x"));
        for n in 0..count {
            request = request.header(format!("x-{n}"), "y".repeat(length));
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 431, "{count}");
        is_error(&response.json().await.unwrap(), "headers_too_large");
    }
}

#[tokio::test]
async fn s11_a_model_that_refuses_is_an_error_with_a_fitting_status() {
    let refuse =
        |status, code: &str| Step::refuse(status, json!({ "error": { "message": "said", "code": code } }), None);
    let cases = [
        (refuse(401, "invalid_api_key"), 502, "model_authentication", "false"),
        (
            refuse(400, "context_length_exceeded"),
            400,
            "context_length_exceeded",
            "false",
        ),
        (refuse(400, "invalid_value"), 400, "invalid_value", "false"),
        (refuse(404, "model_not_found"), 500, "model_misconfigured", "false"),
        (
            Step {
                raw: Some("data: {\"oops\n\n".into()),
                ..Step::default()
            },
            502,
            "model_bad_response",
            "",
        ),
        (
            Step {
                cut_after_bytes: Some(900),
                ..Step::say("one two three four")
            },
            502,
            "model_stream_cut",
            "",
        ),
    ];
    for (step, status, code, should_retry) in cases {
        let site = Site::scripted([step]).await;
        let response = site.post("/a/chat/completions", &user("x")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{code}");
        let header = response
            .headers()
            .get("x-should-retry")
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        assert_eq!(header, should_retry, "{code}");
        is_error(&response.json().await.unwrap(), code);
        assert_eq!(site.model_saw().len(), 1, "{code}: nothing is asked again");
    }
}

#[tokio::test]
async fn a_busy_model_is_asked_again_as_it_wishes() {
    let busy = |after| Step::refuse(429, json!({ "error": { "message": "slow down" } }), after);
    let site = Site::scripted([busy(Some(1)), Step::refuse(503, json!({}), None), Step::say("now")]).await;
    let start = Instant::now();
    let (_, answer) = site.ask(user("x")).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "now");
    assert!(start.elapsed() > Duration::from_secs(1), "Retry-After is kept");

    let site = Site::scripted([busy(Some(100))]).await;
    let response = site.post("/a/chat/completions", &user("x")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"100".parse().unwrap())
    );
    is_error(&response.json().await.unwrap(), "rate_limit_exceeded");
}

#[tokio::test]
async fn s11_an_error_in_the_middle_is_an_event_then_done() {
    let rate = json!({ "error": { "message": "enough", "code": "rate_limit_exceeded" } });
    for (step, code, status) in [
        (
            Step {
                cut_after_bytes: Some(900),
                ..Step::say("one two three four")
            },
            "model_stream_cut",
            "server_error",
        ),
        (
            Step {
                error_event: Some(rate),
                ..Step::say("one two")
            },
            "rate_limit_exceeded",
            "client_error",
        ),
    ] {
        let site = Site::scripted([step]).await;
        let events = site.stream(user("x")).await;
        let [before @ .., error, done] = &*events else {
            panic!("{events:?}")
        };
        assert!(before.len() > 1 && before[1].contains("one"), "{events:?}");
        is_error(&serde_json::from_str(error).unwrap(), code);
        assert_eq!(done, "[DONE]");
        site.metric(&format!(r#"rockbot_requests_total{{agent="a",status="{status}"}} 1"#))
            .await;
    }
}

#[tokio::test]
async fn once_a_tool_has_run_nobody_is_told_to_try_again() {
    let script = Call::new("execute_python_script", json!({ "script": "1" }));
    let cut = Step {
        cut_after_bytes: Some(900),
        ..Step::say("one two three four")
    };
    let site = Site::scripted([Step::call([script]), cut]).await;
    let response = site.post("/a/chat/completions", &user("x")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-should-retry"]),
        (502, &"false".parse().unwrap())
    );
}

#[tokio::test]
async fn no_key_and_no_address_ever_reach_a_client() {
    let site = Site::scripted([]).await;
    let mut wrong = agent("a", "http://127.0.0.1:1/v1");
    for (file, code) in [
        ("/nonexistent/key", "model_misconfigured"),
        (&*crate::site::key_file(), "model_unreachable"),
    ] {
        wrong["model"]["apiKeyFile"] = json!(file);
        site.set(vec![wrong.clone()]);
        let (_, answer) = site.ask(user("x")).await;
        is_error(&answer, code);
        let text = answer.to_string();
        assert!(
            !text.contains("127.0.0.1") && !text.contains("nonexistent") && !text.contains("sk-"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn s12_a_model_that_keeps_failing_shows_in_the_health() {
    let site = Site::scripted([]).await;
    site.set(vec![agent("a", "http://127.0.0.1:1/v1")]);
    for _ in 0..2 {
        site.ask(user("x")).await;
    }
    let (_, health) = site.get_json("/health/detailed").await;
    let problems = &health["agents"]["a"]["problems"];
    assert_eq!(
        *problems,
        json!(["the model \"scripted\" has failed several times in a row"])
    );
    assert_eq!(health["server_status"], "degraded");
}

#[tokio::test]
async fn a_silent_model_and_an_endless_request_end_in_time() {
    let site = Site::start().await;
    let url = site.model.script(
        "late",
        [
            Step {
                delay_ms: 60_000,
                ..Step::say("late")
            },
            Step::say("on time"),
        ],
    );
    let mut config = agent("a", &url);
    config["model"]["timeoutSeconds"] = json!(1);
    site.set(vec![config.clone()]);
    let (status, answer) = site.ask(user("x")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    is_error(&answer, "model_timeout");

    config["model"]["baseUrl"] = json!(site.model.script("tool", [sleep_call()]));
    config["limits"] = json!({ "requestTimeoutSeconds": 1 });
    site.set(vec![config]);
    let (status, answer) = site.ask(user("x")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    is_error(&answer, "timeout");
}

#[tokio::test]
async fn s11_a_path_that_is_no_text_is_an_error_object() {
    let site = Site::scripted([]).await;
    for path in [
        "/%ff",
        "/v1/models/%ff",
        "/v1/responses/%ff",
        "/a/responses/%ff",
        "/%ff/responses/x",
    ] {
        let (status, answer) = site.get_json(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        is_error(&answer, "invalid_path");
    }
    let (status, answer) = site.ask_at("/%ff/chat/completions", user("x")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    is_error(&answer, "invalid_path");
}

#[tokio::test]
async fn d6_who_may_not_ask_has_no_body_read() {
    let site = Site::scripted([]).await;
    let mut config = agent("a", &site.model.base_url("echo"));
    let keys = json!([{ "name": "k", "scope": "owner", "file": crate::site::key_file() }]);
    config["access"] = json!({ "anonymous": false, "apiKeys": keys });
    site.set(vec![config.clone()]);
    let never = || reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    for path in ["/a/chat/completions", "/v1/chat/completions", "/v1/responses"] {
        let refused = site.post(path, &json!({})).body(never()).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(refused.headers()["www-authenticate"], "Bearer");
        is_error(&refused.json().await.unwrap(), "invalid_api_key");
    }
    let open = agent("b", &site.model.base_url("echo"));
    site.set(vec![config, open]);
    let (status, answer) = site.ask_at("/v1/chat/completions", user("x")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "there is one that anybody may ask");
    is_error(&answer, "model_missing");
}

#[tokio::test]
async fn s9_every_answer_says_which_request_it_is_for() {
    let site = Site::scripted([]).await;
    for (path, status) in [
        ("/", 200),
        ("/live", 200),
        ("/v1/models", 200),
        ("/a/b/c", 404),
        ("/v1/responses/resp_1", 404),
        ("/a/chat/completions", 405),
        ("/%ff", 400),
    ] {
        let response = site.get(path).header("x-request-id", "mine").send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["x-request-id"], "mine", "{path}");
        let response = site
            .get(path)
            .header("x-long", "x".repeat(40 << 10))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 431);
        assert!(response.headers()["x-request-id"].len() > 30, "{path}");
    }
}

fn sleep_call() -> Step {
    Step::call([Call::new("execute_python_script", json!({ "script": "sleep" }))])
}

#[tokio::test]
async fn s10_a_client_that_goes_away_ends_the_model_and_is_counted_once() {
    for streamed in [true, false] {
        let site = Site::scripted([Step {
            pause_ms: 50,
            ..Step::say("word ".repeat(1000))
        }])
        .await;
        let body = json!({ "stream": streamed, "messages": [{ "role": "user", "content": "x" }] });
        let request = site
            .post("/a/chat/completions", &body)
            .timeout(Duration::from_millis(300))
            .send();
        if let Ok(response) = request.await {
            assert!(streamed);
            response.text().await.unwrap_err();
        }
        site.metric(r#"rockbot_requests_total{agent="a",status="disconnected"} 1"#)
            .await;
        site.metric(r#"rockbot_active_requests{agent="a"} 0"#).await;
        let deadline = Instant::now() + PATIENCE;
        while site.model.requests("scripted")[0].outcome() != Outcome::Dropped {
            assert!(Instant::now() < deadline, "the model still answers");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
