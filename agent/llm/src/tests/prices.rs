//! What answers cost that end badly, and what a refusal costs in time.

use std::time::{Duration, Instant};

use futures::StreamExt;
use rockbot_fakes::{FakeModel, Step};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{KEY, ask, config, key_file, question};
use crate::{Endpoints, Event, Metrics, ModelErrorKind as Kind, Usage, connect};

/// Gemini says so in place of the first word.
fn malformed() -> Step {
    Step {
        finish_reason: Some("MALFORMED_FUNCTION_CALL".into()),
        ..Step::default()
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_says_what_it_has_cost() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    fake.script("alone", [malformed()]);
    fake.script("first", [malformed()]);
    let base = fake.script("second", [Step::say("one two three")]);
    let fields = |scenario, fallbacks: Value| json!({ "baseUrl": fake.root(scenario), "apiKeyFile": key.path(), "fallbacks": fallbacks });
    let connect = |fields| connect(&config("Gemini", fields), &Endpoints::default(), &Metrics::default()).unwrap();

    let alone = connect(fields("alone", json!([])));
    let error = alone.stream(&question()).await.err().unwrap();
    assert_eq!(error.kind, Kind::BadResponse);
    // Three words of the question; the model has thought for two tokens.
    let cost = *error.usage.unwrap();
    assert_eq!((cost.prompt_tokens, cost.completion_tokens), (3, 2));

    // Together with what the model has cost that answers in its place.
    let second = config("OpenAI", json!({ "baseUrl": base, "apiKeyFile": key.path() }));
    let together = connect(fields("first", json!([second])));
    let events: Vec<_> = together
        .stream(&question())
        .await
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    let usages = events.iter().filter_map(|event| match event {
        Event::Usage(Usage { prompt_tokens, .. }) => Some(*prompt_tokens),
        _ => None,
    });
    assert_eq!(usages.collect::<Vec<_>>(), [3, 6]);
}

/// The status has said enough; a fallback or the client waits.
#[tokio::test]
async fn the_words_of_a_refusal_are_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let stalling = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.read_u8().await.unwrap();
        let head = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 100\r\n\r\n{";
        connection.write_all(head).await.unwrap();
        std::future::pending::<()>().await;
    });
    let started = Instant::now();
    let (_, end) = ask("OpenAI", json!({ "baseUrl": base, "timeoutSeconds": 60 })).await;
    let error = end.unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after),
        (Kind::RateLimited, Some(Duration::from_secs(60)))
    );
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    stalling.abort();
}
