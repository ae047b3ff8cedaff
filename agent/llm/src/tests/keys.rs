//! Keys: read when they are needed, and never seen again.

use std::io;

use futures::future::join_all;
use rockbot_fakes::{FakeModel, Refusal, Step};
use serde_json::json;
use tokio::net::TcpListener;

use super::{KEY, Lines, WIRES, ask, config, key_file, question, root};
use crate::{Endpoints, Metrics, ModelErrorKind as Kind, connect};

#[tokio::test]
async fn a_changed_key_is_used_at_once() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file("sk-wrong");
    let base = fake.script("keys", [Step::say("in"), Step::say("in")]);
    let model = connect(
        &config("OpenAI", json!({ "baseUrl": base, "apiKeyFile": key.path() })),
        &Endpoints::default(),
        &Metrics::default(),
    )
    .unwrap();
    assert_eq!(
        model.stream(&question()).await.err().unwrap().kind,
        Kind::Authentication
    );
    std::fs::write(key.path(), KEY).unwrap();
    assert!(model.stream(&question()).await.is_ok());
    std::fs::write(key.path(), "").unwrap();
    assert_eq!(model.stream(&question()).await.err().unwrap().kind, Kind::Configuration);
}

/// A provider that redirects gets an error, and nobody else the key.
#[tokio::test]
async fn a_key_goes_where_the_url_says_and_nowhere_else() {
    let key = key_file(KEY);
    for (_, provider) in WIRES {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let location = format!("http://{}/v1/stolen", elsewhere.local_addr().unwrap());
        let answer = axum::response::Redirect::temporary(&location);
        let provider_itself = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", provider_itself.local_addr().unwrap());
        let redirecting = axum::Router::new().fallback(async move || answer);
        let serving = tokio::spawn(async move { axum::serve(provider_itself, redirecting).await });
        let fields = json!({ "baseUrl": base, "apiKeyFile": key.path(), "timeoutSeconds": 5 });
        let asked = tokio::select! {
            (_, end) = ask(provider, fields) => end,
            _ = elsewhere.accept() => panic!("{provider}: somebody else was asked"),
        };
        let error = asked.unwrap_err();
        assert_eq!(error.kind, Kind::BadResponse);
        assert!(
            error.message.contains("redirects") && error.message.contains("model.baseUrl"),
            "{error}"
        );
        serving.abort();
    }
}

/// Steps that say the key wherever a provider could.
fn misbehaviours() -> Vec<Step> {
    let refusals = [400, 401, 403, 404, 413, 429, 500, 529].map(|status| Step {
        error: Some(Refusal::new(status, &format!("the key {KEY} is no good"))),
        ..Step::default()
    });
    let told = json!({ "type": "error", "error": { "type": "x", "message": format!("{KEY}!") } });
    // Codes whose errors keep the words of the provider, in the middle of an answer.
    let limited = json!({
        "type": "error",
        "error": {
            "message": format!("the key {KEY} is used too often"),
            "type": "rate_limit_error", "code": "rate_limit_exceeded", "status": "RESOURCE_EXHAUSTED",
        },
    });
    let numbered = json!({ "type": "error", "error": { "code": 400, "message": format!("{KEY}?") } });
    let others = [
        Step {
            error_event: Some(limited),
            ..Step::say("half a sentence")
        },
        Step {
            error_event: Some(numbered),
            ..Step::say("half a sentence")
        },
        Step {
            // No event of any wire, and its parser repeats it.
            error_event: Some(json!(KEY)),
            ..Step::say("half a sentence")
        },
        Step {
            error_event: Some(told.clone()),
            ..Step::default()
        },
        Step {
            error_event: Some(told),
            ..Step::say("half a sentence")
        },
        Step {
            raw: Some(format!("data: {KEY}\n\n")),
            ..Step::default()
        },
        Step {
            raw: Some(KEY.into()),
            content_type: Some(format!("text/{KEY}")),
            ..Step::default()
        },
        Step {
            cut_after_bytes: Some(10),
            ..Step::say(KEY)
        },
    ];
    refusals.into_iter().chain(others).collect()
}

/// Everything that is logged at any level, and every error, while providers misbehave and repeat the key that they were
/// sent.
#[tokio::test]
async fn no_key_is_in_any_log_or_error() {
    let lines = Lines::default();
    let _guard = lines.listen().await;

    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    let mut errors = Vec::new();
    for (wire, provider) in WIRES {
        // Side by side, because they wait.
        let asked = misbehaviours().into_iter().enumerate().map(async |(index, step)| {
            let scenario = format!("{wire}-{index}");
            fake.script(&scenario, [step.clone(), step.clone(), step]);
            let fields = json!({ "baseUrl": root(&fake, wire, &scenario), "apiKeyFile": key.path() });
            ask(provider, fields).await.1.unwrap_err()
        });
        errors.extend(join_all(asked).await);
    }
    let mut other = key_file(KEY);
    io::Write::write_all(&mut other, format!("{KEY}\nsecond line").as_bytes()).unwrap();
    errors.push(
        ask(
            "OpenAI",
            json!({ "baseUrl": "http://127.0.0.1:1/v1", "apiKeyFile": other.path() }),
        )
        .await
        .1
        .unwrap_err(),
    );
    errors.push(
        ask(
            "OpenAI",
            json!({ "baseUrl": "http://127.0.0.1:1/v1", "apiKeyFile": key.path() }),
        )
        .await
        .1
        .unwrap_err(),
    );

    let log = lines.text();
    assert!(
        log.contains("the model provider did not answer a request"),
        "nothing was logged"
    );
    for text in [log, format!("{errors:?}")] {
        let found = text.lines().find(|line| line.contains(KEY) || line.contains("5ecret"));
        assert_eq!(found, None);
    }
}
