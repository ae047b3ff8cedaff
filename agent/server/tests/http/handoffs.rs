//! Handoffs to other agents: who they ask for, what comes back, and what stops them.

use std::sync::Arc;

use reqwest::{RequestBuilder, StatusCode};
use rockbot_agent::sdk::{Context, HandoffResult, skill};
use rockbot_fakes::{Call, Outcome, Step};
use serde_json::{Value, json};

use crate::site::{PARENT, PATIENCE, Site, agent, key_file, user};

struct Desk;

#[skill]
impl Desk {
    /// Asks the other one.
    #[handoff(timeout_seconds = 9)]
    async fn consult(&self, question: String, context: &Context) -> HandoffResult {
        let other = if context.agent() == "a" { "b" } else { "a" };
        context.ask_agent(other, &question).await
    }
}

/// The agent `name` on a scenario of its own name, which can hand tasks to `to`.
fn handing(site: &Site, name: &str, to: &[&str], steps: impl IntoIterator<Item = Step>) -> Value {
    let mut config = agent(name, &site.model.script(name, steps));
    let handoff = |to: &&str| {
        json!({
            "name": format!("to-{to}"), "description": format!("Knows all about {to}."), "timeoutSeconds": 9,
            "to": { "type": "agent", "name": to },
        })
    };
    config["handoffs"] = to.iter().map(handoff).collect();
    config
}

fn hand(to: &str, task: &str) -> Step {
    Step::call([Call::new(format!("to-{to}"), json!({ "task": task }))])
}

/// What the model of `name` read last: its messages.
fn read(site: &Site, name: &str) -> Vec<Value> {
    let requests = site.model.requests(name);
    requests.last().unwrap().body["messages"].as_array().unwrap().clone()
}

/// The result of the only handoff, as the model of `name` read it.
fn result(site: &Site, name: &str) -> Value {
    let messages = read(site, name);
    let result = messages.iter().find(|message| message["role"] == "tool").unwrap();
    serde_json::from_str(result["content"].as_str().unwrap()).unwrap()
}

async fn answer(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

#[tokio::test]
async fn d4_another_agent_works_for_whoever_asked_the_first() {
    let site = Site::start().await;
    let a = handing(&site, "a", &["b"], [hand("b", "pay"), Step::say("Done.")]);
    let mut b = handing(&site, "b", &[], [Step::say("paid")]);
    let template =
        "{{ user_id }}/{{ payment_user_id }}/{{ origin_user_id }}/{{ agent_owner_id }}/{{ scope }}/{{ request_id }}";
    b["prompts"] = json!([{ "name": "who", "priority": 50, "template": template }]);
    site.set(vec![a, b]);
    let request = site
        .post("/a/chat/completions", &user("buy"))
        .header("x-user-id", "ada")
        .header("x-payment-user-id", "bank")
        .header("x-agent-owner-id", "owner")
        .header("x-request-id", "r-1")
        .header("traceparent", PARENT)
        .header("tracestate", "vendor=x");
    let answer = answer(request).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Done.");

    let seen = read(&site, "b");
    assert_eq!(
        seen[0]["content"], "You are b.\n\nada/bank/ada/owner/all/r-1",
        "who began the conversation is known from the first handoff on"
    );
    assert_eq!(seen[1..], [json!({ "role": "user", "content": "pay" })]);
    let result = result(&site, "a");
    let (usage, metadata) = (&result["metadata"]["usage"], &result["metadata"]);
    assert_eq!(
        (&result["result"], &result["handoff_type"], &result["success"]),
        (&json!("paid"), &json!("agent"), &json!(true))
    );
    assert_eq!(
        (&metadata["agent"], &metadata["finish_reason"]),
        (&json!("b"), &json!("stop"))
    );
    assert!(usage["total_tokens"].as_u64() > Some(0), "{result}");
    // Each agent's own models are in its own books.
    let spent = |answer: &Value| answer["usage"]["completion_tokens"].as_u64().unwrap();
    site.metric(&format!(
        r#"rockbot_tokens_total{{agent="a",kind="completion"}} {}"#,
        spent(&answer)
    ))
    .await;
    site.metric(&format!(
        r#"rockbot_tokens_total{{agent="b",kind="completion"}} {}"#,
        usage["completion_tokens"]
    ))
    .await;
    // The trace goes on into the other agent and from there to its model.
    let headers = &site.model.requests("b")[0].headers;
    let trace = headers.get("traceparent").map(|parent| parent[..35].to_owned());
    assert_eq!(trace.as_deref(), Some(&PARENT[..35]));
}

#[tokio::test]
async fn d4_the_conversation_goes_along_when_the_model_wants_it() {
    let site = Site::start().await;
    let call = Call::new("to-b", json!({ "task": "decide", "with_conversation": true }));
    let a = handing(&site, "a", &["b"], [Step::call([call]), Step::say("Done.")]);
    let b = handing(&site, "b", &[], [Step::say("yes")]);
    site.set(vec![a, b]);
    let conversation = json!([
        { "role": "system", "content": "a secret of the client" },
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": "two", "name": "x" },
        { "role": "user", "content": [{ "type": "text", "text": "three" }] },
    ]);
    site.ask(json!({ "messages": conversation })).await;
    let seen = read(&site, "b");
    let expected = json!([
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": "two" },
        { "role": "user", "content": [{ "type": "text", "text": "three" }] },
        { "role": "user", "content": "decide" },
    ]);
    assert_eq!(json!(seen[1..]), expected);
}

#[tokio::test]
async fn d4_a_circle_is_refused_and_named() {
    let site = Site::start().await;
    let a = handing(&site, "a", &["b"], [hand("b", "go"), Step::say("a is done")]);
    let b = handing(&site, "b", &["c"], [hand("c", "go"), Step::say("b is done")]);
    let c = handing(&site, "c", &["a"], [hand("a", "go"), Step::say("c is done")]);
    site.set(vec![a, b, c]);
    let (_, answer) = site.ask(user("go")).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "a is done");
    let refused = result(&site, "c");
    assert_eq!(refused["success"], false);
    assert!(
        refused["result"].as_str().unwrap().contains("a → b → c → a"),
        "{refused}"
    );
    assert_eq!(result(&site, "a")["result"], "b is done");
    assert_eq!(site.model.requests("a").len(), 2, "the circle was not closed");
}

#[tokio::test]
async fn d4_a_chain_without_end_is_refused_and_named() {
    let site = Site::start().await;
    let a = handing(&site, "a", &["b"], [hand("b", "go"), Step::say("done")]);
    site.set(vec![a, handing(&site, "b", &[], [])]);
    let request = site.post("/a/chat/completions", &user("go"));
    answer(request.header("x-rockbot-handoffs", "s,t, u,v,w,x,y,z")).await;
    let refused = result(&site, "a");
    let words = refused["result"].as_str().unwrap();
    assert!(
        words.contains("more than 8 handoffs") && words.contains("s → t → u → v → w → x → y → z → a → b"),
        "{words}"
    );
    assert!(site.model.requests("b").is_empty());
}

#[tokio::test]
async fn d8_an_agent_that_does_not_answer_is_a_result() {
    let site = Site::start().await;
    let steps = || [hand("b", "go"), Step::say("Too bad.")];
    let closed = json!({ "anonymous": false, "apiKeys": [{ "name": "k", "scope": "owner", "file": key_file() }] });
    let overloaded = Step::refuse(429, json!({ "error": { "message": "slow down" } }), Some(60));
    for (access, b_steps, words) in [
        (None, None, "there is no agent \"b\""),
        (
            Some(&closed),
            Some(Step::say("never said")),
            "401: this agent wants an API key",
        ),
        (Some(&json!({})), Some(overloaded), "429"),
        (
            Some(&json!({})),
            Some(Step {
                error_event: Some(json!({ "error": { "message": "boom" } })),
                ..Step::say("half")
            }),
            "it failed: ",
        ),
    ] {
        let mut agents = vec![handing(&site, "a", &["b"], steps())];
        if let (Some(access), Some(step)) = (access, b_steps) {
            let mut b = handing(&site, "b", &[], [step]);
            if access != &json!({}) {
                b["access"] = access.clone();
            }
            agents.push(b);
        }
        site.set(agents);
        let (_, answer) = site.ask(user("go")).await;
        assert_eq!(answer["choices"][0]["message"]["content"], "Too bad.");
        let refused = result(&site, "a");
        assert_eq!(refused["success"], false, "{refused}");
        assert!(
            refused["result"].as_str().unwrap().contains(words),
            "{words}: {refused}"
        );
    }

    // With a key that it accepts, the other agent answers, as to anybody who holds that key.
    let mut a = handing(&site, "a", &["b"], steps());
    a["handoffs"][0]["to"]["keyFile"] = key_file().into();
    let mut b = handing(&site, "b", &[], [Step::say("welcome")]);
    b["access"] = closed;
    b["prompts"] = json!([{ "name": "scope", "priority": 1, "scope": "owner", "template": "For {{ scope }}." }]);
    site.set(vec![a, b]);
    site.ask(user("go")).await;
    assert_eq!(result(&site, "a")["result"], "welcome");
    assert_eq!(read(&site, "b")[0]["content"], "You are b.\n\nFor owner.");
}

#[tokio::test]
async fn d4_a_client_that_goes_away_ends_the_work_of_the_other_agent() {
    let site = Site::start().await;
    let a = handing(&site, "a", &["b"], [hand("b", "go")]);
    let endless = Step {
        silent_ms: 60_000,
        ..Step::say("late")
    };
    site.set(vec![a, handing(&site, "b", &[], [endless])]);
    let request = site.post("/a/chat/completions", &user("go")).send();
    let asking = tokio::spawn(request);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let outcome = |expected: Outcome| {
        let requests = site.model.requests("b");
        requests.first().is_some_and(|request| request.outcome() == expected)
    };
    while !outcome(Outcome::Running) {
        assert!(tokio::time::Instant::now() < deadline, "b is never asked");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    asking.abort();
    while !outcome(Outcome::Dropped) {
        assert!(tokio::time::Instant::now() < deadline, "b goes on");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn d4_a_handoff_in_rust_asks_another_agent() {
    let site = Site::with_skills(vec![Arc::new(Desk)]).await;
    let consult = || Step::call([Call::new("consult", json!({ "question": "why" }))]);
    let url = |name: &str| {
        site.model
            .script(name, [consult(), Step::say(format!("{name} says so"))])
    };
    site.set(vec![agent("a", &url("a")), agent("b", &url("b"))]);
    site.ask(user("go")).await;
    assert_eq!(read(&site, "b")[1]["content"], "why");
    assert_eq!(result(&site, "a")["result"], "b says so");
    let refused = result(&site, "b")["result"].to_string();
    assert!(refused.contains("a → b → a"), "{refused}");
}
