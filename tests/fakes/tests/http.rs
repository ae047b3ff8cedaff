//! The provider over HTTP, as a test in another process meets it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use reqwest::{Client, Response};
use rockbot_fakes::FakeModel;
use serde_json::{Value, json};

fn client() -> Client {
    // Plain connections need no certificates.
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

async fn ask(base_url: &str, key: &str, body: &Value) -> Response {
    client()
        .post(format!("{base_url}/chat/completions"))
        .bearer_auth(key)
        .json(body)
        .send()
        .await
        .unwrap()
}

fn deltas(stream: &str) -> Vec<Value> {
    let chunks = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    chunks
        .map(|chunk| serde_json::from_str::<Value>(&format!("{{{chunk}")).unwrap()["choices"][0]["delta"].take())
        .collect()
}

#[tokio::test]
async fn an_uploaded_scenario_serves_its_steps_and_remembers_what_came() {
    let model = FakeModel::start().await.unwrap();
    let url = model.base_url("mine");
    let root = url.trim_end_matches("/mine/v1");
    let steps = json!([
        { "content": "one two" },
        { "error": { "status": 429, "retry_after": 3, "body": { "error": { "message": "slow down" } } } },
    ]);
    let upload = client()
        .post(format!("{root}/script"))
        .json(&json!({ "name": "mine", "steps": steps }));
    assert_eq!(upload.send().await.unwrap().status(), 204);

    let body = json!({ "model": "m", "stream": true, "messages": [] });
    let text = ask(&url, "sk-any", &body).await.text().await.unwrap();
    assert_eq!(
        deltas(&text)[1..3],
        [json!({ "content": "one " }), json!({ "content": "two" })]
    );
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let refused = ask(&url, "sk-any", &body).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"3".parse().unwrap())
    );
    assert_eq!(ask(&url, "sk-any", &body).await.status(), 500, "no third step");
    assert_eq!(ask(&url, "sk-wrong", &body).await.status(), 401);
    let recorded: Value = client()
        .get(format!("{root}/mine/requests"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(recorded[0]["body"], body);
    assert_eq!(recorded[0]["outcome"], "sent");
}

#[tokio::test]
async fn the_built_in_scenarios_decide_from_the_messages() {
    let model = FakeModel::start().await.unwrap();
    let tools = json!([{ "type": "function", "function": { "name": "world__echo" } }]);
    let cases = [
        (
            "python",
            "x\n```python\nprint(1)\n```",
            "execute_python_script",
            json!({ "script": "print(1)\n" }),
        ),
        (
            "python",
            "```json\n{\"script\":\"a\",\"timeout_seconds\":1}\n```",
            "execute_python_script",
            json!({ "script": "a", "timeout_seconds": 1 }),
        ),
        ("mcp", "hello", "world__echo", json!({ "message": "hello" })),
        (
            "mcp",
            "please\nCALL some_tool {\"n\":1}",
            "some_tool",
            json!({ "n": 1 }),
        ),
    ];
    for (scenario, question, tool, arguments) in cases {
        let mut messages = json!([{ "role": "user", "content": question }]);
        let body = json!({ "stream": true, "messages": messages, "tools": tools });
        let text = ask(&model.base_url(scenario), "sk", &body).await.text().await.unwrap();
        let calls: Vec<_> = deltas(&text)
            .iter()
            .filter_map(|delta| delta["tool_calls"].get(0).cloned())
            .collect();
        assert_eq!(calls[0]["function"]["name"], tool, "{text}");
        let written: String = calls
            .iter()
            .filter_map(|call| call["function"]["arguments"].as_str())
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), arguments);

        messages
            .as_array_mut()
            .unwrap()
            .push(json!({ "role": "tool", "tool_call_id": "x", "content": "the result" }));
        let body = json!({ "stream": true, "messages": messages });
        let text = ask(&model.base_url(scenario), "sk", &body).await.text().await.unwrap();
        let said: String = deltas(&text)
            .iter()
            .filter_map(|delta| delta["content"].as_str())
            .collect();
        assert_eq!(said, "the result");
    }
}
