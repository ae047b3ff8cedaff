//! Webhooks and services: what they are sent, what they may change, and what happens when they fail.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, Mac};
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::site::{PARENT, Site, agent, key_file, user};

/// Answers what it is told to, and remembers what it was sent.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
    serving: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Received {
    headers: HeaderMap,
    raw: String,
    body: Value,
}

type Answer = Arc<dyn Fn(&Value) -> Response + Send + Sync>;

impl Receiver {
    async fn start(answer: impl Fn(&Value) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/hook?of=a", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let state: (Answer, _) = (Arc::new(answer), Arc::clone(&received));
        let router = Router::new().fallback(receive).with_state(state);
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { url, received, serving }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn types(&self) -> Vec<String> {
        let received = self.received();
        received
            .iter()
            .map(|one| one.body["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    State((answer, received)): State<(Answer, Arc<Mutex<Vec<Received>>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let raw = String::from_utf8(body.to_vec()).unwrap();
    let body: Value = serde_json::from_str(&raw).unwrap();
    let response = answer(&body);
    received.lock().unwrap().push(Received { headers, raw, body });
    response
}

fn json_answer(value: Value) -> Response {
    axum::Json(value).into_response()
}

/// The signature that the key of the tests makes of a request.
fn signature(received: &Received) -> String {
    let header = |name: &str| received.headers[name].to_str().unwrap();
    let key = std::fs::read_to_string(key_file()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.trim().as_bytes()).unwrap();
    let signed = format!(
        "{}.{}.{}",
        header("webhook-id"),
        header("webhook-timestamp"),
        received.raw
    );
    mac.update(signed.as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

fn hook(url: &str, event: &str, must_succeed: bool) -> Value {
    json!({
        "name": format!("hook-{}", event.replace('_', "-")), "event": event, "priority": 50, "url": url,
        "timeoutSeconds": 1, "mustSucceed": must_succeed,
    })
}

const EVENTS: [&str; 7] = [
    "on_connection",
    "on_message",
    "before_toolcall",
    "after_toolcall",
    "before_handoff",
    "after_handoff",
    "finalize_connection",
];

fn run() -> Call {
    Call::new("execute_python_script", json!({ "script": "one" }))
}

fn hand() -> Call {
    Call::new("desk", json!({ "task": "help" }))
}

/// The results that the model of `a` read last.
fn results(site: &Site) -> Vec<String> {
    let saw = site.model_saw();
    let messages = saw.last().unwrap()["messages"].as_array().unwrap().clone();
    let results = messages.iter().filter(|message| message["role"] == "tool");
    results
        .map(|result| result["content"].as_str().unwrap().to_owned())
        .collect()
}

/// The agent `a` with hooks, a prompt that reads what they set, and a desk that it can hand tasks to.
async fn site(hooks: Value, desk: &str, steps: impl IntoIterator<Item = Step>) -> Site {
    let site = Site::start().await;
    let mut config = agent("a", &site.model.script("scripted", steps));
    config["prompts"] = json!([
        { "name": "tier", "priority": 1, "template": "Tier: {{ values.tier }}." },
        { "name": "who", "priority": 2, "template": "For {{ user_id }}." },
    ]);
    config["hooks"] = hooks;
    config["handoffs"] = json!([{
        "name": "desk", "description": "Helps.", "timeoutSeconds": 1,
        "to": { "type": "service", "url": desk, "keyFile": key_file(), "signingKeyFile": key_file() },
    }]);
    site.set(vec![config]);
    site
}

#[tokio::test]
async fn d2_webhooks_see_and_change_every_moment() {
    let receiver = Receiver::start(|body| match body["type"].as_str().unwrap() {
        "on_connection" => json_answer(json!({ "values": { "tier": "gold" } })),
        "before_toolcall" => json_answer(json!({ "call": { "arguments": { "script": "two" } } })),
        "after_toolcall" => json_answer(json!({ "result": { "content": "three", "is_error": true } })),
        "before_handoff" => json_answer(json!({ "call": { "arguments": "{\"task\":\"hurry\"}" } })),
        "after_handoff" => json_answer(json!({ "result": { "metadata": { "seen": true } } })),
        "handoff" => "on its way".into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    })
    .await;
    let hooks = EVENTS.map(|event| {
        let mut hook = hook(&receiver.url, event, event != "finalize_connection");
        hook["signingKeyFile"] = key_file().into();
        hook
    });
    let steps = [Step::call([run(), hand()]), Step::say("Done.")];
    let site = site(json!(hooks), &receiver.url, steps).await;
    let asked = site.post("/a/chat/completions", &user("go"));
    let answer: Value = asked
        .header("traceparent", PARENT)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "Done.");

    let system = &site.model_saw()[0]["messages"][0]["content"];
    assert_eq!(*system, json!("You are a.\n\nTier: gold.\n\nFor anonymous."));
    let handoff =
        json!({ "result": "on its way", "handoff_type": "service", "success": true, "metadata": { "seen": true } });
    assert_eq!(results(&site), ["three".to_owned(), handoff.to_string()]);

    let received = receiver.received();
    let of = |kind: &str| {
        let all = received.iter().filter(|one| one.body["type"] == kind);
        all.map(|one| one.body["data"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("on_connection"), [json!({})]);
    assert_eq!(of("on_message").len(), 2);
    assert_eq!(of("on_message")[1]["message"]["content"], "Done.");
    let call = &of("before_toolcall")[0]["call"];
    assert_eq!(
        (&call["name"], &call["arguments"]),
        (&json!("execute_python_script"), &json!(r#"{"script":"one"}"#))
    );
    let result = &of("after_toolcall")[0]["result"];
    assert_eq!(
        (&result["content"], &result["is_error"]),
        (&json!("two"), &json!(false))
    );
    assert_eq!(
        of("handoff"),
        [json!({ "handoff": "desk", "arguments": { "task": "hurry" } })]
    );
    assert_eq!(of("after_handoff")[0]["result"]["result"], "on its way");
    assert!(of("finalize_connection")[0]["usage"]["total_tokens"].as_u64() > Some(0));
    for one in &received {
        assert_eq!(one.headers["webhook-signature"], signature(one), "{}", one.raw);
        assert!(one.headers.contains_key("x-request-id"));
        assert_eq!(
            one.headers["traceparent"], PARENT,
            "webhooks and services are in the caller's trace"
        );
        let expected = if one.body["type"] == "on_connection" {
            json!({})
        } else {
            json!({ "tier": "gold" })
        };
        let context = &one.body["context"];
        assert_eq!((&context["agent"], &context["values"]), (&json!("a"), &expected));
        let is_handoff = one.body["type"] == "handoff";
        assert_eq!(one.headers.contains_key("authorization"), is_handoff);
    }
}

#[tokio::test]
async fn d8_a_webhook_that_fails_is_passed_over() {
    let receiver = Receiver::start(|body| match body["type"].as_str().unwrap() {
        "on_connection" => (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
        "on_message" => json_answer(json!([])),
        "before_toolcall" => StatusCode::FORBIDDEN.into_response(),
        "after_toolcall" => (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]).into_response(),
        _ => "fine".into_response(),
    })
    .await;
    let hooks = EVENTS.map(|event| hook(&receiver.url, event, false));
    let steps = [Step::call([run()]), Step::say("Done.")];
    let site = site(json!(hooks), &receiver.url, steps).await;
    let (_, answer) = site.ask(user("go")).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Done.");
    assert_eq!(results(&site), ["one"]);
    let system = &site.model_saw()[0]["messages"][0]["content"];
    assert_eq!(
        *system,
        json!("You are a.\n\nFor anonymous."),
        "a prompt without its value is left out"
    );
    let expected = [
        "on_connection",
        "on_message",
        "before_toolcall",
        "after_toolcall",
        "on_message",
        "finalize_connection",
    ];
    assert_eq!(receiver.types(), expected);
}

#[tokio::test]
async fn d2_a_webhook_that_must_succeed_stops_what_it_is_about() {
    for (event, status, code, words) in [
        (
            "on_connection",
            403,
            "refused_by_hook",
            "it answered 403 Forbidden: not on Sundays",
        ),
        ("on_message", 403, "refused_by_hook", "not on Sundays"),
        ("on_connection", 502, "hook_failed", "it answered 500"),
    ] {
        let receiver = Receiver::start(move |_| match status {
            403 => (StatusCode::FORBIDDEN, "not on Sundays").into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        })
        .await;
        let hooks = json!([hook(&receiver.url, event, true)]);
        let site = site(hooks, &receiver.url, [Step::say("Done.")]).await;
        let response = site.post("/a/chat/completions", &user("go")).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-should-retry"]),
            (status, &"false".parse().unwrap())
        );
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["code"], code);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(words) && message.contains(&format!("hook-{}", event.replace('_', "-"))),
            "{message}"
        );
    }
    for (event, ran) in [
        ("before_toolcall", false),
        ("after_toolcall", true),
        ("before_handoff", false),
        ("after_handoff", true),
    ] {
        let receiver = Receiver::start(move |body| match body["type"].as_str().unwrap() {
            "handoff" => "helped".into_response(),
            _ => (StatusCode::FORBIDDEN, "not on Sundays").into_response(),
        })
        .await;
        let call = if event.ends_with("handoff") { hand() } else { run() };
        let steps = [Step::call([call]), Step::say("Too bad.")];
        let site = site(json!([hook(&receiver.url, event, true)]), &receiver.url, steps).await;
        let (_, answer) = site.ask(user("go")).await;
        assert_eq!(answer["choices"][0]["message"]["content"], "Too bad.");
        let result = &results(&site)[0];
        assert!(
            result.contains("not on Sundays") && !result.contains("helped"),
            "{event}: {result}"
        );
        let result: Value = serde_json::from_str(result).unwrap();
        if event.ends_with("handoff") {
            assert_eq!(
                (&result["success"], &result["handoff_type"]),
                (&json!(false), &json!("service"))
            );
            assert_eq!(receiver.types().contains(&"handoff".to_owned()), ran, "{event}");
        } else {
            assert_eq!(result["error"]["code"], "execution_failed");
        }
    }
}

#[tokio::test]
async fn d2_a_webhook_has_its_time_and_no_more() {
    // It accepts connections and never says anything.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let hooks = json!([hook(&url, "on_connection", true)]);
    let site = site(hooks, &url, [Step::say("Done.")]).await;
    let (status, error) = site.ask(user("go")).await;
    assert_eq!(status, 502);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("no answer within 1 s"), "{message}");
}

#[tokio::test]
async fn d8_a_service_that_does_not_help_is_a_result() {
    let broken = Receiver::start(|_| (StatusCode::SERVICE_UNAVAILABLE, "closed today").into_response()).await;
    let endless = Receiver::start(|_| "x".repeat((1 << 20) + 1).into_response()).await;
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody_url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    for (url, words) in [
        (&broken.url, "it answered 503 Service Unavailable: closed today"),
        (&endless.url, "longer than 1048576 bytes"),
        (&silent_url, "desk gave no answer within 1 s"),
        (&nobody_url, "it cannot be reached"),
    ] {
        let site = site(json!([]), url, [Step::call([hand()]), Step::say("Too bad.")]).await;
        site.ask(user("go")).await;
        let result: Value = serde_json::from_str(&results(&site)[0]).unwrap();
        assert_eq!(
            (&result["success"], &result["handoff_type"]),
            (&json!(false), &json!("service"))
        );
        assert!(result["result"].as_str().unwrap().contains(words), "{words}: {result}");
    }
}
