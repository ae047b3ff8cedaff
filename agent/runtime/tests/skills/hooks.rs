//! D2, D8: the eight moments, their order, what may be changed, and that every connection is finalised once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use rockbot_agent::{
    TurnError, TurnEvent,
    sdk::{Context, Delta, HandoffResult, Message, Skill, ToolInvokeRequest, ToolResult, json, skill},
    skills::HookFailure,
};
use rstest::rstest;

use crate::site::{Site, asked, call, say, text};

/// Writes down what happens, and has a tool and a handoff for it to happen to.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn has(&self, entry: &str) {
        for _ in 0..1000 {
            if self.entries().iter().any(|other| other == entry) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no {entry:?} in {:?}", self.entries());
    }
}

#[skill]
impl Diary {
    /// Repeats.
    #[tool]
    fn repeat(&self, text: String) -> String {
        text
    }

    /// Hands over.
    #[handoff]
    fn pass(&self, to: String) -> Result<String, String> {
        if to == "nobody" {
            Err("nobody is there".to_owned())
        } else {
            Ok(to)
        }
    }

    #[hook(on_connection)]
    fn connected(&self, context: &Context) {
        self.note(format!("connected {}", context.user_id));
        context.set("greeting", "hello");
    }

    #[hook(on_chunk)]
    async fn chunk(&self, chunk: &mut Delta) {
        if let Delta::Content(text) = chunk {
            self.note(format!("chunk {text}"));
            *text = text.to_uppercase();
        }
    }

    #[hook(on_message)]
    fn message(&self, message: &Message) {
        self.note(format!(
            "message {:?}, {} calls",
            message.plain_text(),
            message.calls().len()
        ));
    }

    #[hook(before_toolcall)]
    async fn before_tool(&self, context: Context, call: &mut ToolInvokeRequest) -> Result<(), String> {
        self.note(format!("before {} {}", call.tool_name, call.arguments));
        let greeting = context.get("greeting").ok_or("nobody greets")?;
        call.arguments = json!({ "text": greeting }).to_string();
        "a hook cannot change it".clone_into(&mut call.tool_call_id);
        Ok(())
    }

    #[hook(after_toolcall)]
    fn after_tool(&self, result: &mut ToolResult) {
        self.note(format!("after {} {}", result.name, result.content));
        result.content.push('!');
    }

    #[hook(before_handoff)]
    fn before_handoff(&self, call: &mut ToolInvokeRequest) {
        self.note(format!("before handoff {}", call.arguments));
    }

    #[hook(after_handoff)]
    fn after_handoff(&self, result: &mut HandoffResult) {
        self.note(format!("after handoff {} {}", result.success, result.result));
        result.metadata.insert("seen".to_owned(), true.into());
    }

    #[hook(finalize_connection)]
    async fn finalized(&self, context: &Context) {
        tokio::task::yield_now().await;
        self.note(format!("finalized {}", context.get("greeting").unwrap_or_default()));
    }
}

#[tokio::test]
async fn d2_hooks_see_and_change_every_moment() {
    let diary = Diary::default();
    let calls = [
        ("repeat", json!({ "text": "x" })),
        ("pass", json!({ "to": "bob" })),
        ("pass", json!({ "to": "nobody" })),
    ];
    let site = Site::new(vec![Arc::new(diary.clone())], [call(&calls), say("bye")]);
    let events = site.ask_as("all").await;
    assert_eq!(text(&events), "BYE");
    let told = events.iter().find_map(|event| match event {
        TurnEvent::ToolResult(result) => Some((result.id.as_str(), result.content.as_str())),
        _ => None,
    });
    assert_eq!(told, Some(("call_0", "hello!")));
    let handoff = |result: &str, success: bool| {
        json!({ "result": result, "handoff_type": "agent", "success": success, "metadata": { "seen": true } })
            .to_string()
    };
    assert_eq!(
        site.results(),
        [
            "hello!".to_owned(),
            handoff("bob", true),
            handoff("nobody is there", false)
        ]
    );
    // The calls run side by side; all else is one after the other.
    let (mut beginning, end) = (diary.entries(), diary.entries().split_off(8));
    beginning.truncate(2);
    assert_eq!(beginning, ["connected ada", "message \"\", 3 calls"]);
    assert_eq!(end, ["chunk bye", "message \"bye\", 0 calls", "finalized \"hello\""]);
    for entry in [
        r#"before repeat {"text":"x"}"#,
        "after repeat hello",
        r#"before handoff {"to":"bob"}"#,
        "after handoff true bob",
        r#"before handoff {"to":"nobody"}"#,
        "after handoff false nobody is there",
    ] {
        assert!(
            diary.entries().iter().any(|other| other == entry),
            "{entry}: {:?}",
            diary.entries()
        );
    }
}

/// Has a tool and a handoff.
struct Mute;

#[skill]
impl Mute {
    /// Repeats.
    #[tool]
    fn repeat(text: String) -> String {
        text.replace("hello", "x")
    }

    /// Hands over.
    #[handoff]
    fn pass(to: String) -> String {
        to
    }
}

#[derive(Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

#[skill]
impl Order {
    #[hook(on_connection, priority = 1)]
    fn last(&self) {
        self.0.lock().unwrap().push("last");
    }

    #[hook(on_connection)]
    fn middle(&self) {
        self.0.lock().unwrap().push("middle");
    }

    #[hook(on_connection, priority = 90)]
    fn fails(&self) -> Result<(), &'static str> {
        self.0.lock().unwrap().push("fails");
        Err("on purpose")
    }

    #[hook(on_connection, priority = 80)]
    async fn panics(&self) {
        self.0.lock().unwrap().push("panics");
        unreachable!();
    }

    #[hook(on_connection, priority = 100)]
    async fn first(&self) {
        tokio::task::yield_now().await;
        self.0.lock().unwrap().push("first");
    }

    #[hook(on_connection)]
    fn middle_too(&self) {
        self.0.lock().unwrap().push("middle too");
    }
}

#[tokio::test]
async fn d2_d8_the_higher_priority_runs_first_and_a_failure_stops_nobody() {
    let order = Order::default();
    let ran = Arc::clone(&order.0);
    let site = Site::new(vec![Arc::new(order)], []);
    assert_eq!(site.ask().await, "done");
    assert_eq!(
        *ran.lock().unwrap(),
        ["first", "fails", "panics", "middle", "middle too", "last"]
    );
}

/// Refuses at one of the moments, in vain or not.
struct Guard {
    event: &'static str,
    panics: bool,
}

impl Guard {
    fn at(&self, event: &str) -> Result<(), String> {
        match self.event == event {
            true if self.panics => panic!("on purpose"),
            true => Err(format!("no {event}")),
            false => Ok(()),
        }
    }
}

#[skill]
impl Guard {
    #[hook(on_connection, must_succeed = true)]
    fn connected(&self) -> Result<(), String> {
        self.at("connection")
    }

    #[hook(on_connection, must_succeed = false)]
    fn connected_in_vain(&self) -> Result<(), String> {
        self.at("connection, in vain")
    }

    #[hook(on_chunk, must_succeed = true)]
    async fn chunk(&self, _chunk: &mut Delta) -> Result<(), String> {
        self.at("chunk")
    }

    #[hook(on_message, must_succeed = true)]
    fn message(&self) -> Result<(), String> {
        self.at("message")
    }

    #[hook(before_toolcall, must_succeed = true)]
    fn before_tool(&self) -> Result<(), String> {
        self.at("tool")
    }

    #[hook(after_toolcall, must_succeed = true)]
    fn after_tool(&self) -> Result<(), String> {
        self.at("result")
    }

    #[hook(before_handoff, must_succeed = true)]
    fn before_handoff(&self) -> Result<(), String> {
        self.at("handoff")
    }

    #[hook(after_handoff, must_succeed = true)]
    fn after_handoff(&self) -> Result<(), String> {
        self.at("answer")
    }
}

/// What comes of a turn whose guard refuses at `event`: the words of the error, or the results that the model has read.
#[rstest]
#[case("connection", false, Err("no connection"))]
#[case("connection", true, Err("panicked: on purpose"))]
#[case("connection, in vain", false, Ok(["x", "bob"]))]
#[case("chunk", false, Err("no chunk"))]
#[case("message", false, Err("no message"))]
#[case("tool", false, Ok(["no tool", "bob"]))]
#[case("result", false, Ok(["no result", "bob"]))]
#[case("handoff", false, Ok(["x", "no handoff"]))]
#[case("answer", false, Ok(["x", "no answer"]))]
#[tokio::test]
async fn d2_a_hook_that_must_succeed_refuses_what_is_about_to_happen(
    #[case] event: &'static str,
    #[case] panics: bool,
    #[case] expected: Result<[&str; 2], &str>,
) {
    let calls = [("repeat", json!({ "text": "hello" })), ("pass", json!({ "to": "bob" }))];
    let guard = Guard { event, panics };
    let skills: [Arc<dyn Skill>; 2] = [Arc::new(Mute), Arc::new(guard)];
    let site = Site::new(skills.into(), [call(&calls), say("bye")]);
    let request = serde_json::from_value(json!({ "messages": [{ "role": "user", "content": "go" }] })).unwrap();
    let turn = site.agent.turn(request, asked("all")).unwrap();
    let last = turn.collect::<Vec<_>>().await.pop().unwrap();
    match (last, expected) {
        (Ok(_), Ok(expected)) => {
            for (result, expected) in site.results().iter().zip(expected) {
                assert!(result.contains(expected), "{result}");
            }
        }
        (Err(TurnError::Stopped(stopped)), Err(words)) => {
            assert_eq!(matches!(stopped.failure, HookFailure::Refused(_)), !panics);
            assert!(stopped.to_string().ends_with(words), "{stopped}");
        }
        (last, expected) => panic!("{last:?}, not {expected:?}"),
    }
}

#[tokio::test]
async fn d2_a_connection_is_finalised_once_however_it_ends() {
    // To its end, dropped in the middle, and never polled.
    for polls in [usize::MAX, 2, 0] {
        let diary = Diary::default();
        let site = Site::new(vec![Arc::new(diary.clone())], [say("bye")]);
        let request = serde_json::from_value(json!({ "messages": [{ "role": "user", "content": "go" }] })).unwrap();
        let turn = site.agent.turn(request, asked("all")).unwrap();
        let seen = turn.take(polls).count().await;
        if polls == 0 {
            assert_eq!(diary.entries(), Vec::<String>::new(), "nothing has begun");
            continue;
        }
        assert!(seen >= 2);
        diary.has("finalized \"hello\"").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let finalized = diary
            .entries()
            .iter()
            .filter(|entry| entry.starts_with("finalized"))
            .count();
        assert_eq!(finalized, 1, "after {polls} polls");
    }
}
