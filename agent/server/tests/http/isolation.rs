//! Many clients at once, and agents that are replaced while they answer.

use futures::future::join_all;
use reqwest::StatusCode;
use rockbot_fakes::Step;
use serde_json::{Value, json};

use crate::site::{Site, agent, chunks, events, text, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s15_no_request_sees_anything_of_another() {
    let site = Site::start().await;
    let url = site.model.base_url("mcp");
    site.set(vec![agent("a", &url), agent("b", &url)]);
    let site = &site;
    join_all((0..40).map(async |number| {
        let agent = if number % 2 == 0 { "a" } else { "b" };
        let tool = format!("tool_of_{number}");
        // Its own tool and the agent's in one round; the model invents the same identities for everybody.
        let script = json!({ "script": format!("result of {number}") });
        let question = format!("CALL execute_python_script {script}\nCALL {tool} {{\"n\":{number}}}");
        let tools = json!([{ "type": "function", "function": { "name": tool } }]);
        let mut body = json!({ "messages": [{ "role": "user", "content": question }], "tools": tools });
        let path = format!("/{agent}/chat/completions");
        let (status, answer) = site.ask_at(&path, body.clone()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let message = &answer["choices"][0]["message"];
        let calls = message["tool_calls"].as_array().unwrap();
        assert_eq!((calls.len(), &calls[0]["function"]["name"]), (1, &json!(tool)));
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(message.clone());
        messages.push(json!({ "role": "tool", "tool_call_id": calls[0]["id"], "content": format!("mine {number}") }));
        let (_, answer) = site.ask_at(&path, body).await;
        let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(said, format!("result of {number}\nmine {number}"));
    }))
    .await;
    for request in site.model.requests("mcp") {
        let tools: Vec<_> = request.body["tools"].as_array().unwrap().iter().collect();
        assert_eq!(tools.len(), 2, "the agent's tool and the client's own: {tools:?}");
    }
}

#[tokio::test]
async fn s7_agents_are_replaced_while_they_answer() {
    let site = Site::scripted([Step {
        pause_ms: 30,
        ..Step::say("one two three four")
    }])
    .await;
    let body = json!({ "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    let running = site.post("/a/chat/completions", &body).send().await.unwrap();
    let kept = site.server.agents().get("a").unwrap();
    site.set(vec![agent("b", &site.model.base_url("echo")), kept_config(&kept)]);
    assert!(
        std::sync::Arc::ptr_eq(&kept, &site.server.agents().get("a").unwrap()),
        "an unchanged agent runs on"
    );
    site.set(vec![agent("b", &site.model.base_url("echo"))]);
    assert_eq!(site.ask(user("x")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.ask_at("/b/chat/completions", user("x")).await.0, StatusCode::OK);
    assert_eq!(
        text(&chunks(&events(running).await)),
        "one two three four",
        "what runs comes to its end"
    );
}

fn kept_config(agent: &rockbot_agent::Agent) -> Value {
    serde_json::to_value(agent.config()).unwrap()
}

#[tokio::test]
async fn a_wrong_agent_changes_nothing_and_says_what_is_wrong() {
    let site = Site::scripted([]).await;
    let config = serde_json::from_value(agent("b", "no url")).unwrap();
    let error = site.server.set_agents(vec![config]).unwrap_err().to_string();
    assert!(
        error.contains("agent b") && error.contains("baseUrl \"no url\""),
        "{error}"
    );
    assert_eq!(site.server.agents().names(), ["a"]);
}
