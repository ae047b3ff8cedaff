//! S11: why an answer broke off is in the log.

use rockbot_fakes::Step;
use serde_json::json;

use crate::agent::{Agent, KEY};

#[tokio::test]
async fn an_answer_that_breaks_off_says_why_in_the_log() {
    let broken = Step {
        error_event: Some(json!({ "error": { "message": "out of memory", "type": "server_error", "code": 500 } })),
        ..Step::say("So far")
    };
    let agent = Agent::scripted([broken], &[]).await;
    let text = agent.request().send().await.unwrap().text().await.unwrap();
    assert!(text.contains("model_overloaded"), "{text}");
    let log = agent.end().await.log;
    let line = log.iter().find(|line| line["message"] == "request ended").unwrap();
    let reason = line["reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with("model_overloaded: the model provider is overloaded"),
        "{line}"
    );
    assert!(!json!(log).to_string().contains(KEY));
}
