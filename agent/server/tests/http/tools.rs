//! Tools: the agent's own inside the turn, the client's outside of it, and both at once.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{body::Body, http::Request};
use reqwest::StatusCode;
use rockbot_agent_server::{Server, router};
use rockbot_fakes::{Call, Step};
use rockbot_scripts_api::{OutputChunk, ScriptError, ScriptRequest, ScriptResult, ScriptRunner};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::site::{Site, chunks, events, text, user};

fn run(script: &str) -> Call {
    Call::new("execute_python_script", json!({ "script": script }))
}

fn open(window: &str) -> Call {
    Call::new("open_window", json!({ "window": window }))
}

fn with_client_tool(mut body: Value) -> Value {
    body["tools"] = json!([{ "type": "function", "function": { "name": "open_window", "parameters": {} } }]);
    body
}

/// Role and, for results, identity and content of each message that the model read.
fn read_by_model(request: &Value) -> Vec<String> {
    let messages = request["messages"].as_array().unwrap().iter();
    messages
        .map(|message| match message["role"].as_str().unwrap() {
            "tool" => format!(
                "{}={}",
                message["tool_call_id"].as_str().unwrap(),
                message["content"].as_str().unwrap()
            ),
            role => role.to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn s8_own_tools_run_side_by_side_and_keep_their_order() {
    let site = Site::scripted([
        Step::call([run("meet, slow"), run("meet"), run("meet too")]),
        Step::say("done"),
    ])
    .await;
    let (status, answer) = site.ask(user("go")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer["choices"][0]["message"],
        json!({ "role": "assistant", "content": "done" })
    );
    let saw = site.model_saw();
    let expected = [
        "system",
        "user",
        "assistant",
        "call_0=meet, slow",
        "call_1=meet",
        "call_2=meet too",
    ];
    assert_eq!(read_by_model(&saw[1]), expected);
    site.metric(r#"rockbot_tool_invocations_total{tool_name="execute_python_script",status="ok"} 3"#)
        .await;
}

#[tokio::test]
async fn s8_calls_of_client_tools_end_the_turn_and_its_results_continue() {
    let site = Site::scripted([Step::call([open("left"), open("right")]), Step::say("Both are open.")]).await;
    let (_, answer) = site.ask(with_client_tool(user("air"))).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    let arguments: Vec<_> = calls
        .iter()
        .map(|call| call["function"]["arguments"].as_str().unwrap())
        .collect();
    assert_eq!(arguments, [r#"{"window":"left"}"#, r#"{"window":"right"}"#]);
    assert!(
        calls
            .iter()
            .all(|call| call["type"] == "function" && call["id"].as_str().unwrap().len() == 9),
        "{calls:?}"
    );

    let result = |call: &Value| json!({ "role": "tool", "tool_call_id": call["id"], "content": "open" });
    let messages = json!([
        { "role": "user", "content": "air" }, choice["message"], result(&calls[0]), result(&calls[1]),
    ]);
    let (_, answer) = site.ask(with_client_tool(json!({ "messages": messages }))).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Both are open.");
}

#[tokio::test]
async fn s8_a_mixed_round_loses_no_result() {
    let mixed = Step {
        content: Some("Wait.".into()),
        ..Step::call([run("secret"), open("left"), run("other")])
    };
    let site = Site::scripted([Step::call([run("before")]), mixed, Step::say("done")]).await;
    let events = site.stream(with_client_tool(user("go"))).await;
    let chunks = chunks(&events);
    assert!(
        !events.concat().contains("secret"),
        "the agent's own calls stay inside: {events:?}"
    );
    assert_eq!(text(&chunks), "Wait.");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let fragments: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0))
        .collect();
    assert!(fragments.iter().all(|fragment| fragment["index"] == 0), "{fragments:?}");
    let (first, more) = fragments.split_first().unwrap();
    assert_eq!(
        (&first["type"], &first["function"]["name"]),
        (&json!("function"), &json!("open_window"))
    );
    assert!(
        more.len() > 1
            && more
                .iter()
                .all(|m| m.get("id").is_none() && m["function"].get("name").is_none())
    );
    let arguments: String = fragments
        .iter()
        .filter_map(|f| f["function"]["arguments"].as_str())
        .collect();
    assert_eq!(arguments, r#"{"window":"left"}"#);

    let id = first["id"].as_str().unwrap();
    let call = json!({ "id": id, "type": "function", "function": { "name": "open_window", "arguments": arguments } });
    let follow_up = json!({ "messages": [
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": "Wait.", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": id, "content": "open" },
    ] });
    let (_, answer) = site.ask(with_client_tool(follow_up.clone())).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "done");
    let read = read_by_model(&site.model_saw()[2]).join(" ");
    assert!(
        read.starts_with("system user assistant call_0=before assistant "),
        "{read}"
    );
    assert!(
        read.contains("=secret ") && read.contains("=other ") && read.ends_with(&format!("{id}=open")),
        "{read}"
    );
}

#[tokio::test]
async fn s8_a_call_that_cannot_run_is_told_to_the_model() {
    let broken = Call::new("execute_python_script", json!("{\"script\": "));
    let wrong = Call::new("execute_python_script", json!({ "script": 5 }));
    let site = Site::scripted([
        Step::call([broken, wrong, Call::new("dream", json!({}))]),
        Step::say("sorry"),
    ])
    .await;
    let (_, answer) = site.ask(user("go")).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "sorry");
    let read = read_by_model(&site.model_saw()[1]);
    assert!(
        read[3].contains("invalid_arguments") && read[3].contains("no JSON"),
        "{read:?}"
    );
    assert!(
        read[4].contains("invalid_arguments") && read[4].contains("script"),
        "{read:?}"
    );
    assert!(
        read[5].contains("tool_not_found") && read[5].contains("execute_python_script"),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_model_that_never_stops_is_stopped_and_the_answer_says_so() {
    let site = Site::scripted((0..20).map(|_| Step::call([run("again")]))).await;
    let (_, answer) = site.ask(user("go")).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(said.contains("12 rounds"), "{said}");
    assert_eq!(site.model_saw().len(), 13);
}

#[tokio::test]
async fn tool_events_are_for_those_who_ask() {
    let site = Site::scripted([Step::call([run("42")]), Step::say("It is 42.")]).await;
    let mut body = user("go");
    body["stream"] = json!(true);
    let request = site
        .post("/a/chat/completions", &body)
        .header("x-rockbot-tool-events", "true");
    let chunks = chunks(&events(request.send().await.unwrap()).await);
    let told: Vec<_> = chunks.iter().filter_map(|chunk| chunk.get("rockbot")).collect();
    let call =
        json!({ "tool_call": { "id": "call_0", "name": "execute_python_script", "arguments": "{\"script\":\"42\"}" } });
    let name = "execute_python_script";
    let result = json!({ "tool_result": { "id": "call_0", "name": name, "content": "42", "is_error": false } });
    assert_eq!(told, [&call, &result]);
    let empty =
        |chunk: &&Value| chunk["choices"][0]["delta"] == json!({}) && chunk["choices"][0]["finish_reason"].is_null();
    assert!(
        chunks
            .iter()
            .filter(|chunk| chunk.get("rockbot").is_some())
            .all(|chunk| empty(&chunk))
    );
    assert_eq!(text(&chunks), "It is 42.");
}

#[tokio::test]
async fn t16_files_of_a_script_reach_the_person_and_the_model_learns_their_names() {
    let site = Site::scripted([Step::call([run("plot")]), Step::say("Here it is.")]).await;
    let mut body = user("go");
    body["stream"] = json!(true);
    let request = site
        .post("/a/chat/completions", &body)
        .header("x-rockbot-tool-events", "true");
    let chunks = chunks(&events(request.send().await.unwrap()).await);
    let results: Vec<_> = chunks
        .iter()
        .map(|chunk| &chunk["rockbot"]["tool_result"])
        .filter(|result| result.is_object())
        .collect();
    let file = json!({ "name": "plot.png", "media_type": "image/png", "data": "aGk=" });
    assert_eq!(results[0]["files"], json!([file]));
    let read = site.model_saw()[1]["messages"].to_string();
    assert!(
        read.contains("plot.png (image/png, 1 KiB)") && !read.contains("aGk="),
        "{read}"
    );
}

#[tokio::test(start_paused = true)]
async fn s14_comments_keep_a_stream_alive_while_a_tool_runs() {
    let scripts = Arc::new(Silent);
    let server = Server::new(Some(scripts));
    let config = json!({
        "name": "a", "model": { "provider": "Demo" }, "tools": { "scripts": { "timeoutSeconds": 30 } },
        "limits": { "requestTimeoutSeconds": 60 },
    });
    server
        .set_agents(vec![serde_json::from_value(config).unwrap()])
        .unwrap();
    let body = json!({ "stream": true, "messages": [{ "role": "user", "content": "```python\npass\n```" }] });
    let request = Request::post("/a/chat/completions")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router(server).oneshot(request).await.unwrap();
    let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let comments = text.lines().filter(|line| line.starts_with(':')).count();
    assert_eq!(comments, 3, "one every 15 s of 60: {text}");
    assert!(
        text.contains("\"code\":\"timeout\"") && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
}

/// A sandbox from which nothing is ever heard.
struct Silent;

#[async_trait]
impl ScriptRunner for Silent {
    async fn run(&self, _: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        std::future::pending().await
    }

    async fn run_streaming(
        &self,
        request: ScriptRequest,
        _: mpsc::Sender<OutputChunk>,
    ) -> Result<ScriptResult, ScriptError> {
        self.run(request).await
    }
}
