//! The tokens of a day: counted, refused when they are used up, kept where the agent keeps things.

use std::time::{Duration, Instant};

use reqwest::{StatusCode, header::RETRY_AFTER};
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, agent, user};

/// The agent `a`, which has `tokens` a day. The scripted model counts words: `hello` costs 4 to read, and one each that
/// it says.
async fn limited(tokens: u64, storage: Value) -> Site {
    let site = Site::start().await;
    let url = site.model.script("scripted", (0..9).map(|_| Step::say("hi")));
    let mut config = agent("a", &url);
    config["limits"] = json!({ "dailyTokens": tokens });
    config["timeZone"] = json!("Asia/Tokyo");
    config["storage"] = storage;
    site.set(vec![config]);
    site
}

async fn used(site: &Site) -> u64 {
    let (_, health) = site.get_json("/health/detailed").await;
    health["agents"]["a"]["daily_tokens"]["used"].as_u64().unwrap()
}

#[tokio::test]
async fn a_day_has_so_many_tokens_and_a_request_that_has_begun_is_answered() {
    let site = limited(1, json!({ "type": "Ephemeral" })).await;
    assert_eq!(used(&site).await, 0);
    assert_eq!(site.ask(user("hello")).await.0, StatusCode::OK, "nothing was used yet");
    let spent = used(&site).await;
    assert!(spent > 1, "{spent}");
    for path in ["/a/chat/completions", "/v1/responses"] {
        let body = json!({ "messages": [{ "role": "user", "content": "hello" }], "input": "hello", "stream": true });
        let response = site.post(path, &body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=24 * 60 * 60).contains(&seconds), "{seconds}");
        assert_eq!(
            response.headers()["x-should-retry"],
            "false",
            "no SDK waits for midnight by itself"
        );
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["code"], "insufficient_quota");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("limits.dailyTokens") && message.contains("T00:00:00+09:00"),
            "{message}"
        );
    }
    assert_eq!(site.model_saw().len(), 1, "nothing else reached the model");
    assert_eq!(used(&site).await, spent);
    site.metric(&format!(r#"rockbot_daily_tokens_used{{agent="a"}} {spent}"#))
        .await;
    site.metric(r#"rockbot_daily_tokens_limit{agent="a"} 1"#).await;
}

/// Asks the agent, and goes away after the first word.
async fn hang_up(site: &Site, prompt: &str) {
    let body = json!({ "stream": true, "messages": user(prompt)["messages"] });
    let mut answer = site.post("/a/chat/completions", &body).send().await.unwrap();
    // The first chunk says who speaks.
    for _ in 0..2 {
        answer.chunk().await.unwrap().unwrap();
    }
    drop(answer);
    site.metric(r#"rockbot_requests_total{agent="a",status="disconnected"} 1"#)
        .await;
}

#[tokio::test]
async fn an_answer_whose_cost_nobody_tells_costs_what_has_come_of_it() {
    let site = limited(1000, json!({ "type": "Ephemeral" })).await;
    let silent = Step {
        hide_usage: true,
        ..Step::say("one two three")
    };
    let endless = Step {
        pause_ms: 20,
        ..Step::say("word ".repeat(10_000))
    };
    let mut config = agent("a", &site.model.script("untold", [silent, endless]));
    config["limits"] = json!({ "dailyTokens": 1000 });
    site.set(vec![config]);
    assert_eq!(site.ask(user("hello")).await.0, StatusCode::OK);
    site.metric(r#"rockbot_daily_tokens_used{agent="a"} 3"#).await;

    hang_up(&site, "hello").await;
    let deadline = Instant::now() + PATIENCE;
    while used(&site).await == 3 {
        assert!(Instant::now() < deadline, "what it said was free");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the metrics say that requests to the agent have cost: tokens read and written.
async fn counted(site: &Site) -> [u64; 2] {
    let (_, text) = site.get_text("/metrics").await;
    ["prompt", "completion"].map(|kind| {
        let mut lines = text.lines().filter(|line| line.starts_with("rockbot_tokens_total{"));
        let line = lines.find(|line| line.contains(&format!(r#""{kind}""#)));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    })
}

#[tokio::test]
async fn a_cost_that_is_told_with_every_chunk_is_paid_once() {
    let site = limited(100_000, json!({ "type": "Ephemeral" })).await;
    let repeated = |step| Step {
        repeat_usage: true,
        ..step
    };
    let call = Step::call([Call::new("execute_python_script", json!({ "script": "1" }))]);
    let rounds = [call, Step::say("one two three")];
    let mut costs = Vec::new();
    for rounds in [rounds.clone(), rounds.map(repeated)] {
        site.model.script("scripted", rounds);
        let before = (used(&site).await, counted(&site).await);
        let (_, mut answer) = site.ask(user("hello")).await;
        let [read, written] = counted(&site).await;
        let usage = ["prompt_tokens", "completion_tokens"].map(|name| answer["usage"][name].as_u64().unwrap());
        assert_eq!([read - before.1[0], written - before.1[1]], usage);
        assert_eq!(used(&site).await - before.0, usage.iter().sum::<u64>());
        costs.push(answer["usage"].take());
    }
    assert_eq!(costs[0], costs[1]);
}

/// What was read is most of the cost of a long conversation, and is known before the first word.
#[tokio::test]
async fn whoever_hangs_up_pays_what_is_known_by_then() {
    for (provider, repeat_usage) in [("OpenAI", true), ("Anthropic", false), ("Gemini", false)] {
        let site = limited(100_000, json!({ "type": "Ephemeral" })).await;
        let endless = Step {
            pause_ms: 20,
            repeat_usage,
            ..Step::say("word ".repeat(10_000))
        };
        let url = site.model.script("endless", [endless]);
        let mut config = agent("a", &url);
        config["limits"] = json!({ "dailyTokens": 100_000 });
        config["model"]["provider"] = json!(provider);
        site.set(vec![config]);
        hang_up(&site, &"long ".repeat(1000)).await;
        let deadline = Instant::now() + PATIENCE;
        while used(&site).await < 1000 {
            assert!(Instant::now() < deadline, "{provider}: what it read was free");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ([read, _], paid) = (counted(&site).await, used(&site).await);
        assert!(
            (1000..1100).contains(&read) && (read..2000).contains(&paid),
            "{provider}: {read}, {paid}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(used(&site).await, paid, "{provider}: it was paid once");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_paid() {
    let site = limited(100_000, json!({ "type": "Ephemeral" })).await;
    let malformed = Step {
        finish_reason: Some("MALFORMED_FUNCTION_CALL".into()),
        ..Step::default()
    };
    let url = site.model.script("malformed", [malformed]);
    let mut config = agent("a", &url);
    config["limits"] = json!({ "dailyTokens": 100_000 });
    config["model"]["provider"] = json!("Gemini");
    site.set(vec![config]);
    assert_eq!(site.ask(user(&"long ".repeat(1000))).await.0, StatusCode::BAD_GATEWAY);
    let ([read, _], paid) = (counted(&site).await, used(&site).await);
    assert!(read >= 1000 && paid >= 1000, "{read}, {paid}");
}

#[tokio::test]
async fn tokens_stay_used_after_a_restart_where_things_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let volume = json!({ "type": "Volume", "directory": directory.path() });
    let site = limited(1, volume.clone()).await;
    assert_eq!(site.ask(user("hello")).await.0, StatusCode::OK);
    let spent = used(&site).await;
    site.shutdown.cancel();
    site.serving.await.unwrap();
    drop(site.server);

    let site = limited(1, volume).await;
    assert_eq!(used(&site).await, spent);
    assert_eq!(site.ask(user("hello")).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn replicas_share_the_day_and_the_responses_of_a_database() {
    let database = rockbot_test_postgres::Server::start();
    let storage = json!({
        "type": "Postgres", "namespace": "here", "host": "127.0.0.1", "port": database.port(),
        "urlFile": database.file("url", &database.url()),
    });
    let (one, other) = (limited(1, storage.clone()).await, limited(1, storage.clone()).await);
    let (status, response) = one.ask_at("/a/responses", json!({ "input": "hello" })).await;
    assert_eq!(
        (status, &response["store"]),
        (StatusCode::OK, &json!(true)),
        "{response}"
    );
    let path = format!("/a/responses/{}", response["id"].as_str().unwrap());
    assert_eq!(other.get_json(&path).await, (StatusCode::OK, response));
    assert_eq!(other.ask(user("hello")).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(used(&other).await, used(&one).await);

    let mut namesake = storage;
    namesake["namespace"] = json!("elsewhere");
    let stranger = limited(1, namesake).await;
    assert_eq!(stranger.get_json(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stranger.ask(user("hello")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_agent_whose_time_zone_nobody_knows_does_not_start() {
    let site = Site::start().await;
    let mut config = agent("a", &site.model.base_url("echo"));
    config["timeZone"] = json!("Mars/Olympus_Mons");
    let error = site
        .server
        .set_agents(vec![serde_json::from_value(config).unwrap()])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("timeZone: there is no \"Mars/Olympus_Mons\""),
        "{error}"
    );
}
