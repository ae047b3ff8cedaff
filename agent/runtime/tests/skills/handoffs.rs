//! D4: handoffs beside other calls, what hooks make of them, and the keys that other agents want.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use axum::{Router, http::HeaderMap, routing::post};
use futures::StreamExt;
use rockbot_agent::{
    Environment, TurnEvent,
    peers::Directory,
    sdk::{Context, Delta, HandoffResult, ToolInvokeRequest, Value, json, skill},
};
use rstest::rstest;
use tokio::net::TcpListener;
use url::Url;

use crate::site::{Site, asked, call, say, text};

/// Counts what it was used for.
#[derive(Clone, Default)]
struct Desk {
    asked: Arc<AtomicUsize>,
    shredded: Arc<AtomicUsize>,
}

#[skill]
impl Desk {
    /// Asks whoever talks to the agent.
    #[handoff(type = "human")]
    fn ask(&self, question: String) -> String {
        self.asked.fetch_add(1, Ordering::SeqCst);
        question
    }

    /// Asks a colleague.
    #[handoff]
    fn colleague(&self) -> &'static str {
        "No idea."
    }

    /// Shreds a document.
    #[tool]
    fn shred(&self) -> &'static str {
        self.shredded.fetch_add(1, Ordering::SeqCst);
        "shredded"
    }
}

/// What happens when a client that can open windows sends `messages`.
async fn talk(site: &Site, messages: &Value) -> Vec<TurnEvent> {
    let window = json!([{ "type": "function", "function": { "name": "open_window" } }]);
    let request = serde_json::from_value(json!({ "messages": messages, "tools": window })).unwrap();
    let turn = site.agent.turn(request, asked("all")).unwrap();
    turn.map(Result::unwrap).collect().await
}

#[rstest]
#[case::alone("ask", "stop")]
#[case::with_others("shred ask", "stop")]
#[case::beside_a_client_tool("ask open_window", "tool_calls")]
#[case::among_all("open_window shred ask ask", "tool_calls")]
#[tokio::test]
async fn s8_d4_a_question_is_asked_after_the_tools_of_the_client(#[case] calls: &str, #[case] finish: &str) {
    let desk = Desk::default();
    let question = || json!({ "question": "Which colour?" });
    let calls: Vec<_> = calls.split(' ').map(|name| (name, question())).collect();
    let calls = calls.iter().map(|(name, question)| match *name {
        "ask" => (*name, question.clone()),
        other => (other, json!({})),
    });
    let calls: Vec<_> = calls.collect();
    let site = Site::new(
        vec![Arc::new(desk.clone())],
        [call(&calls), call(&[("ask", question())])],
    );
    let first = json!({ "role": "user", "content": "Paint it." });
    let events = talk(&site, &json!([first])).await;
    assert_eq!(events.last(), Some(&TurnEvent::Finished(finish.to_owned())));
    if finish == "stop" {
        assert_eq!(
            (text(&events).as_str(), desk.asked.load(Ordering::SeqCst)),
            ("Which colour?", 1)
        );
        return;
    }
    assert_eq!((text(&events).as_str(), desk.asked.load(Ordering::SeqCst)), ("", 0));

    let shown = events.iter().find_map(|event| match event {
        TurnEvent::Delta(Delta::ToolCall(call)) => call.id.clone(),
        _ => None,
    });
    let window = json!({ "id": shown, "type": "function", "function": { "name": "open_window", "arguments": "{}" } });
    let follow_up = json!([
        first,
        { "role": "assistant", "tool_calls": [window] },
        { "role": "tool", "tool_call_id": shown, "content": "open" },
    ]);
    let events = talk(&site, &follow_up).await;
    let saw = site.results();
    let refused: Vec<Value> = saw
        .iter()
        .filter_map(|result| serde_json::from_str(result).ok())
        .collect();
    assert!(!refused.is_empty() && saw.contains(&"open".to_owned()), "{saw:?}");
    for result in refused {
        assert_eq!(
            (&result["handoff_type"], &result["success"]),
            (&json!("human"), &json!(false))
        );
        assert!(result["result"].as_str().unwrap().starts_with("not asked"), "{result}");
    }
    assert_eq!(
        (text(&events).as_str(), desk.asked.load(Ordering::SeqCst)),
        ("Which colour?", 1)
    );
}

/// Makes another call of each handoff, and wants no tool to run.
struct Redirect(&'static str);

#[skill]
impl Redirect {
    #[hook(before_handoff)]
    fn redirect(&self, call: &mut ToolInvokeRequest) {
        self.0.clone_into(&mut call.tool_name);
    }

    #[hook(before_toolcall, must_succeed = true)]
    fn guard() -> Result<(), &'static str> {
        Err("no tools today")
    }
}

#[rstest]
#[case::another_handoff("colleague", true, "No idea.")]
#[case::a_tool("shred", false, "a hook made \"shred\" of it, which is no handoff")]
#[case::nothing("nothing", false, "a hook made \"nothing\" of it")]
#[tokio::test]
async fn d2_d4_a_hook_makes_no_tool_of_a_handoff(
    #[case] name: &'static str,
    #[case] success: bool,
    #[case] words: &str,
) {
    let desk = Desk::default();
    let question = ("ask", json!({ "question": "Which colour?" }));
    let question = [if success { ("ask", json!({})) } else { question }];
    let site = Site::new(
        vec![Arc::new(desk.clone()), Arc::new(Redirect(name))],
        [call(&question), say("ok")],
    );
    assert_eq!(site.ask().await, "ok");
    let result: Value = serde_json::from_str(&site.results()[0]).unwrap();
    assert_eq!(result["success"], success, "{result}");
    assert!(result["result"].as_str().unwrap().contains(words), "{result}");
    assert_eq!(desk.shredded.load(Ordering::SeqCst), 0);
}

/// Asks the agent `b`.
struct Caller;

#[skill]
impl Caller {
    /// Asks b.
    #[handoff]
    async fn ask_b(context: &Context) -> HandoffResult {
        context.ask_agent("b", "work").await
    }
}

/// Every agent is at this URL.
struct Everywhere(Url);

#[async_trait]
impl Directory for Everywhere {
    async fn find(&self, _: &str) -> Result<Url, String> {
        Ok(self.0.clone())
    }
}

/// An agent that says "worked", and the keys that it is sent.
async fn other_agent() -> (Url, Arc<Mutex<Vec<Option<String>>>>) {
    let sent = Arc::<Mutex<Vec<_>>>::default();
    let keys = Arc::clone(&sent);
    let answer = post(async move |headers: HeaderMap| {
        let key = headers.get("authorization").map(|key| key.to_str().unwrap().to_owned());
        keys.lock().unwrap().push(key);
        let choice = json!({ "delta": { "content": "worked" }, "finish_reason": "stop" });
        format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [choice] }))
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/b", listener.local_addr().unwrap());
    let router = Router::new().route("/b/chat/completions", answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (Url::parse(&url).unwrap(), sent)
}

#[tokio::test]
async fn d4_d6_an_agent_that_code_asks_is_sent_the_key_of_a_declared_handoff() {
    let (url, sent) = other_agent().await;
    let directory = tempfile::tempdir().unwrap();
    let handoff = |name: &str, scope: &str, to: &str, key: Option<&str>| {
        let file = key.map(|key| {
            let file = directory.path().join(key);
            std::fs::write(&file, key).unwrap();
            file
        });
        json!({
            "name": name, "description": "A handoff.", "scope": scope, "timeoutSeconds": 9,
            "to": { "type": "agent", "name": to, "keyFile": file },
        })
    };
    let handoffs = json!([
        handoff("other", "all", "c", Some("key-of-c")),
        handoff("open", "all", "b", None),
        handoff("owners", "owner", "b", Some("key-of-owners")),
        handoff("audit", "audit", "b", Some("key-of-audit")),
    ]);
    for (scope, declared, expected) in [
        ("all", &handoffs, None),
        ("owner", &handoffs, Some("Bearer key-of-owners")),
        ("audit", &handoffs, Some("Bearer key-of-audit")),
        ("owner", &json!([]), None),
    ] {
        let environment = Environment {
            skills: vec![Arc::new(Caller)],
            directory: Some(Arc::new(Everywhere(url.clone()))),
            ..Environment::default()
        };
        let config = json!({ "name": "a", "model": { "provider": "Demo" }, "handoffs": declared });
        let site = Site::configured(config, &environment, [call(&[("ask_b", json!({}))]), say("ok")]);
        assert_eq!(text(&site.ask_as(scope).await), "ok");
        assert!(site.results()[0].contains("worked"), "{:?}", site.results());
        assert_eq!(sent.lock().unwrap().pop().unwrap().as_deref(), expected, "{scope}");
    }
}
