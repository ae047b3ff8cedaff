//! Requests that are refused: one line each, without a word of theirs.

use rockbot_fakes::Step;
use serde_json::{Value, json};

use crate::agent::{Agent, QUESTION};

#[tokio::test]
async fn s13_guessed_keys_are_in_the_log_and_what_was_guessed_is_not() {
    let agent = Agent::scripted([Step::refuse(400, json!({}), None)], &[]).await;
    let get = agent.get("/shop/responses/resp_s3cret").bearer_auth("sk-s3cret");
    let models = agent.get("/v1/models/s3cret");
    for (name, request) in [
        ("key", agent.request().bearer_auth("sk-s3cret")),
        ("words", agent.request().body("{\"s3cret\": ")),
        ("read", get),
        ("model", models),
        ("answered", agent.request()),
    ] {
        request.header("x-request-id", name).send().await.unwrap();
    }
    let log = agent.end().await.log;
    let lines = |message: &str| {
        let lines = log.iter().filter(|line| line["message"] == message);
        let told = lines.map(|line| {
            let span = &line["spans"][0];
            json!([
                span["request_id"],
                span["agent"],
                line["status"],
                line["code"],
                line["level"]
            ])
        });
        Value::Array(told.collect())
    };
    assert_eq!(
        lines("request refused"),
        json!([
            ["key", "shop", 401, "invalid_api_key", "INFO"],
            ["words", "shop", 400, "invalid_json", "INFO"],
            ["read", "shop", 401, "invalid_api_key", "INFO"],
            ["model", null, 404, "model_not_found", "INFO"],
        ])
    );
    assert_eq!(
        lines("request ended"),
        json!([["answered", "shop", "client_error", null, "INFO"]])
    );
    let all = Value::Array(log).to_string();
    assert!(!all.contains("s3cret") && !all.contains(QUESTION), "{all}");
}
