//! What a client does not see of a turn is there for its next request, wherever that goes: at another replica, after a
//! restart.

use reqwest::StatusCode;
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{Site, agent, user};

/// A tool of the agent and one of the client at once.
fn mixed() -> Step {
    let run = Call::new("execute_python_script", json!({ "script": "paid" }));
    Step::call([run, Call::new("open_window", json!({}))])
}

/// Asks the client itself, after the agent has looked something up.
fn question() -> [Step; 2] {
    let look = Call::new("execute_python_script", json!({ "script": "in stock" }));
    let ask = Call::new("ask-customer", json!({ "question": "Which colour?" }));
    [Step::call([look]), Step::call([ask])]
}

/// A replica of the agent `a`, which keeps its things in `storage`.
async fn replica(storage: &Value, steps: impl IntoIterator<Item = Step>) -> Site {
    let site = Site::start().await;
    let mut config = agent("a", &site.model.script("scripted", steps));
    config["storage"] = storage.clone();
    config["handoffs"] = json!([{
        "name": "ask-customer", "description": "Asks the customer.", "timeoutSeconds": 60, "to": { "type": "human" },
    }]);
    site.set(vec![config]);
    site
}

async fn ends(site: Site) {
    site.shutdown.cancel();
    site.serving.await.unwrap();
}

/// The model of `site` has read `results`, and no tool has run there.
async fn knows(site: &Site, results: &[&str]) {
    let saw = site.model_saw();
    let messages = saw[0]["messages"].as_array().unwrap();
    let read: Vec<_> = messages.iter().filter(|message| message["role"] == "tool").collect();
    assert_eq!(read.len(), results.len(), "{messages:?}");
    for (message, result) in read.iter().zip(results) {
        assert!(message["content"].as_str().unwrap().contains(result), "{message}");
        let called = messages
            .iter()
            .filter_map(|message| message["tool_calls"].as_array())
            .flatten();
        assert!(
            called.into_iter().any(|call| call["id"] == message["tool_call_id"]),
            "{messages:?}"
        );
    }
    let (_, metrics) = site.get_text("/metrics").await;
    assert!(!metrics.contains("rockbot_tool_invocations_total{"), "a tool ran again");
}

fn chat(messages: Value) -> Value {
    json!({ "messages": messages, "tools": [{ "type": "function", "function": { "name": "open_window" } }] })
}

/// Asks `one`, and goes on at the replica that `other` makes.
async fn a_mixed_turn_goes_on(one: Site, other: impl AsyncFnOnce(Site) -> Site) {
    let (status, answer) = one.ask(chat(user("go")["messages"].clone())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let said = &answer["choices"][0]["message"];
    let calls = said["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{said}");
    let follow_up = chat(json!([
        { "role": "user", "content": "go" }, said,
        { "role": "tool", "tool_call_id": calls[0]["id"], "content": "open" },
    ]));
    let other = other(one).await;
    let (_, answer) = other.ask(follow_up).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "done", "{answer}");
    knows(&other, &["paid", "open"]).await;
}

async fn a_stored_response_goes_on(one: Site, other: impl AsyncFnOnce(Site) -> Site) {
    let tools = json!([{ "type": "function", "name": "open_window", "parameters": {} }]);
    let (status, response) = one
        .ask_at("/a/responses", json!({ "input": "go", "tools": tools }))
        .await;
    assert_eq!(status, StatusCode::OK, "{response}");
    let call = response["output"].as_array().unwrap().last().unwrap();
    assert_eq!(call["type"], "function_call", "{response}");
    let output = json!([{ "type": "function_call_output", "call_id": call["call_id"], "output": "open" }]);
    let follow_up = json!({ "previous_response_id": response["id"], "input": output, "tools": tools });
    let other = other(one).await;
    let (status, answer) = other.ask_at("/a/responses", follow_up).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    knows(&other, &["paid", "open"]).await;
}

async fn a_question_is_answered(one: Site, other: impl AsyncFnOnce(Site) -> Site) {
    let (status, answer) = one.ask(user("buy one")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "Which colour?");
    let words = json!({ "messages": [
        { "role": "user", "content": "buy one" },
        { "role": "assistant", "content": "Which colour?" },
        { "role": "user", "content": "red" },
    ] });
    let other = other(one).await;
    other.ask(words).await;
    knows(&other, &["in stock", "red"]).await;
}

#[tokio::test]
async fn s8_d4_another_replica_on_the_same_database_goes_on() {
    let database = rockbot_test_postgres::Server::start();
    let storage = json!({
        "type": "Postgres", "namespace": "here", "host": "127.0.0.1", "port": database.port(),
        "urlFile": database.file("url", &database.url()),
    });
    // The first one still runs when the second is asked.
    let mut running = Vec::new();
    let mut other = async |one| {
        running.push(one);
        replica(&storage, [Step::say("done")]).await
    };
    a_mixed_turn_goes_on(replica(&storage, [mixed()]).await, &mut other).await;
    a_stored_response_goes_on(replica(&storage, [mixed()]).await, &mut other).await;
    a_question_is_answered(replica(&storage, question()).await, &mut other).await;
}

#[tokio::test]
async fn s8_d4_an_agent_that_was_restarted_on_its_volume_goes_on() {
    let volumes = [0; 3].map(|_| TempDir::new().unwrap());
    let [mixed_turn, response, asked] = volumes
        .each_ref()
        .map(|volume| json!({ "type": "Volume", "directory": volume.path() }));
    let other = async |one, storage| {
        ends(one).await;
        replica(storage, [Step::say("done")]).await
    };
    let one = replica(&mixed_turn, [mixed()]).await;
    a_mixed_turn_goes_on(one, async |one| other(one, &mixed_turn).await).await;
    let one = replica(&response, [mixed()]).await;
    a_stored_response_goes_on(one, async |one| other(one, &response).await).await;
    let one = replica(&asked, question()).await;
    a_question_is_answered(one, async |one| other(one, &asked).await).await;
}
