//! What every server of agents answers over HTTP, wherever it runs: the same checks for a cluster and for `rockbot dev`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    chat::{Agents, run_python, user},
    eventually,
    wait::Seen,
};

/// An agent under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The server that it answers on.
    pub server: Agents,
    /// Its name: a path of the server.
    pub name: String,
}

/// Checks a Demo agent with scripts switched on.
///
/// # Errors
/// When it answers anything but what clients of OpenAI's API expect.
pub async fn check(agent: &Subject) -> Result<()> {
    completion(agent).await.context("S1: an answer at once")?;
    stream(agent).await.context("S2: a streamed answer")?;
    requests(agent).await.context("S3: fields of a request")?;
    describes_itself(agent).await.context("S4, S5, S6: what it is")?;
    errors(agent).await.context("S7, S11: errors")?;
    identity(agent).await.context("S9: the identity of a request")?;
    hanging_up(agent).await.context("S10: a client that goes away")?;
    health(agent).await.context("S12, S13: health and metrics")?;
    openai_paths(agent).await.context("S14: OpenAI's own paths")?;
    many_at_once(agent).await.context("S15: many clients at once")
}

async fn completion(agent: &Subject) -> Result<()> {
    for path in [path(agent), format!("{}/", path(agent))] {
        let (status, answer) = agent.server.post(&path, &user(&run_python("print(6*7)"))).await?;
        ensure!(status == StatusCode::OK, "{path} answered {status}: {answer}");
        ensure!(answer["object"] == "chat.completion", "object: {answer}");
        ensure!(answer["id"].as_str().is_some_and(|id| !id.is_empty()), "id: {answer}");
        ensure!(
            answer["created"].as_u64().is_some_and(|time| time > 1_700_000_000),
            "created: {answer}"
        );
        ensure!(answer["model"] == agent.name.as_str(), "model: {answer}");
        let choice = &answer["choices"][0];
        ensure!(
            choice["index"] == 0 && choice["finish_reason"] == "stop",
            "choice: {answer}"
        );
        ensure!(choice["message"]["role"] == "assistant", "role: {answer}");
        ensure!(
            text_of(choice, "message").contains("42"),
            "the script's output is missing: {answer}"
        );
        let usage = &answer["usage"];
        let sum = usage["prompt_tokens"]
            .as_u64()
            .zip(usage["completion_tokens"].as_u64())
            .map(|(a, b)| a + b);
        ensure!(
            sum.is_some() && usage["total_tokens"].as_u64() == sum,
            "usage: {answer}"
        );
    }
    Ok(())
}

async fn stream(agent: &Subject) -> Result<()> {
    let mut body = user(&run_python("print(6*7)"));
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let events = agent.server.stream(&path(agent), &body).await?;
    let (done, chunks) = events.split_last().context("an empty stream")?;
    ensure!(done == "[DONE]", "the last event is {done}");
    let chunks = chunks
        .iter()
        .map(|text| serde_json::from_str(text))
        .collect::<Result<Vec<Value>, _>>()?;
    let first = chunks.first().context("no chunks")?;
    for chunk in &chunks {
        ensure!(chunk["object"] == "chat.completion.chunk", "object: {chunk}");
        for field in ["id", "created", "model"] {
            ensure!(
                !chunk[field].is_null() && chunk[field] == first[field],
                "{field} changes: {chunk}"
            );
        }
    }
    ensure!(
        first["choices"][0]["delta"]["role"] == "assistant",
        "the role does not come first: {first}"
    );
    let (usage, deltas) = chunks.split_last().context("no chunks")?;
    ensure!(
        usage["choices"] == json!([]) && usage["usage"]["total_tokens"].is_u64(),
        "usage: {usage}"
    );
    ensure!(
        deltas.iter().all(|chunk| chunk["usage"].is_null()),
        "usage before the end"
    );
    let finished: Vec<_> = deltas
        .iter()
        .filter(|chunk| !chunk["choices"][0]["finish_reason"].is_null())
        .collect();
    ensure!(
        finished.len() == 1 && finished[0]["choices"][0]["finish_reason"] == "stop",
        "finish: {finished:?}"
    );
    let words: Vec<_> = deltas
        .iter()
        .map(|chunk| text_of(&chunk["choices"][0], "delta"))
        .collect();
    ensure!(
        words.concat().contains("42"),
        "the script's output is missing: {}",
        words.concat()
    );
    ensure!(
        words.iter().filter(|word| !word.is_empty()).count() > 5,
        "not streamed word by word: {words:?}"
    );
    body["stream_options"] = json!({ "include_usage": false });
    let events = agent.server.stream(&path(agent), &body).await?;
    ensure!(
        events.iter().all(|event| !event.contains("\"choices\":[]")),
        "usage that nobody asked for"
    );
    Ok(())
}

async fn requests(agent: &Subject) -> Result<()> {
    let mut known = user("hello");
    for (field, value) in [
        ("temperature", json!(0.5)),
        ("max_tokens", json!(100)),
        ("top_p", json!(0.9)),
        ("frequency_penalty", json!(0.1)),
        ("presence_penalty", json!(0.1)),
        ("stop", json!(["never"])),
        ("user", json!("someone")),
        ("a_field_of_tomorrow", json!({ "x": [1, 2] })),
    ] {
        known[field] = value;
    }
    let (status, answer) = agent.server.post(&path(agent), &known).await?;
    ensure!(status == StatusCode::OK, "known and unknown fields: {status} {answer}");

    for (field, value) in [
        ("messages", json!("hello")),
        ("stream", json!("yes")),
        ("temperature", json!("hot")),
        ("messages", json!([])),
    ] {
        let mut body = user("hello");
        body[field] = value;
        let (status, answer) = agent.server.post(&path(agent), &body).await?;
        ensure!(status == StatusCode::BAD_REQUEST, "wrong {field}: {status} {answer}");
        is_error(&answer).with_context(|| format!("wrong {field}"))?;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        ensure!(message.contains(field), "the message does not name {field}: {message}");
    }
    Ok(())
}

async fn describes_itself(agent: &Subject) -> Result<()> {
    let about = get(agent, &format!("/{}", agent.name)).await?;
    ensure!(about["name"] == agent.name.as_str(), "name: {about}");
    ensure!(about["description"].is_string(), "description: {about}");
    let has = |list: &str, ends: &str| {
        let list = about[list].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .any(|one| one.as_str().is_some_and(|one| one.ends_with(ends)))
    };
    ensure!(has("capabilities", ":execute_python_script"), "capabilities: {about}");
    ensure!(
        has("skills", "") && about["pricing"].is_object(),
        "skills, pricing: {about}"
    );

    let server = get(agent, "/").await?;
    for field in ["message", "version"] {
        ensure!(server[field].is_string(), "{field}: {server}");
    }
    let agents = server["agents"].as_array().context("no list of agents")?;
    ensure!(agents.contains(&json!(agent.name)), "agents: {server}");
    ensure!(
        server["endpoints"]["chat_completions"].is_string(),
        "endpoints: {server}"
    );

    let found = get(agent, &format!("/?search=the+{}&top_k=1", agent.name)).await?;
    ensure!(
        found["query"] == format!("the {}", agent.name) && found["total_results"] == 1,
        "search: {found}"
    );
    let first = &found["agents"][0];
    let url = format!("{}/{}", agent.server.base(), agent.name);
    ensure!(
        first["name"] == agent.name.as_str() && first["url"] == url,
        "found: {first}"
    );
    ensure!(
        first["description"].is_string() && first["capabilities"].is_array() && first["min_balance"].is_number(),
        "found: {first}"
    );
    Ok(())
}

async fn identity(agent: &Subject) -> Result<()> {
    for path in [path(agent), "/nobody/chat/completions".to_owned()] {
        let id = agent.server.identity("e2e-42", &path, &user("hello")).await?;
        ensure!(id.as_deref() == Some("e2e-42"), "{path} came back as {id:?}");
    }
    Ok(())
}

async fn hanging_up(agent: &Subject) -> Result<()> {
    let mut body = user(&run_python("import time\ntime.sleep(25)"));
    body["stream"] = json!(true);
    agent.server.hang_up(&path(agent), &body).await?;
    let ended = format!(
        r#"rockbot_requests_total{{agent="{}",status="disconnected"}} 1"#,
        agent.name
    );
    let nothing_runs = format!(r#"rockbot_active_requests{{agent="{}"}} 0"#, agent.name);
    eventually(
        "the request has ended with its client",
        Duration::from_secs(15),
        async || {
            let (_, text) = agent.server.get("/metrics").await?;
            let has = |wanted: &str| text.lines().any(|line| line == wanted);
            Ok(Seen::when(has(&ended) && has(&nothing_runs), || text.clone()))
        },
    )
    .await
}

async fn errors(agent: &Subject) -> Result<()> {
    let (status, answer) = agent.server.post("/nobody/chat/completions", &user("hello")).await?;
    ensure!(status == StatusCode::NOT_FOUND, "an unknown agent: {status}");
    is_error(&answer)?;
    let (status, text) = agent.server.post_raw(&path(agent), "{\"messages\":").await?;
    ensure!(status == StatusCode::BAD_REQUEST, "broken JSON: {status}");
    is_error(&serde_json::from_str(&text).with_context(|| format!("broken JSON: {text}"))?)?;
    let (status, text) = agent.server.get(&path(agent)).await?;
    ensure!(
        status == StatusCode::METHOD_NOT_ALLOWED,
        "GET of a completion: {status}"
    );
    is_error(&serde_json::from_str(&text).with_context(|| format!("GET of a completion: {text}"))?)
}

async fn health(agent: &Subject) -> Result<()> {
    for (path, status) in [("/health", "healthy"), ("/ready", "ready"), ("/live", "alive")] {
        let said = get(agent, path).await?;
        ensure!(said["status"] == status, "{path}: {said}");
    }
    let detailed = get(agent, "/health/detailed").await?;
    let check = &detailed["agents"][&agent.name];
    ensure!(
        detailed["server_status"] == "healthy" && check["status"] == "healthy" && check["problems"] == json!([]),
        "/health/detailed: {detailed}"
    );
    ensure!(
        check["tools"].as_u64() > Some(0) && check["skills"].is_u64(),
        "/health/detailed: {detailed}"
    );
    let (status, text) = agent.server.get("/metrics").await?;
    ensure!(status == StatusCode::OK, "/metrics: {status}");
    // A series that this very run has moved: a static text would not have it.
    let moved = text.lines().any(|line| {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        !line.starts_with('#')
            && line.contains("request")
            && line.contains(&agent.name)
            && value.is_some_and(|v| v > 0.0)
    });
    ensure!(moved, "/metrics shows no requests of {}:\n{text}", agent.name);
    Ok(())
}

async fn openai_paths(agent: &Subject) -> Result<()> {
    let (status, text) = agent.server.get("/v1/models").await?;
    ensure!(status == StatusCode::OK, "/v1/models: {status}");
    let models: Value = serde_json::from_str(&text)?;
    let list = models["data"].as_array().context("no list of models")?;
    let model = list.iter().find(|model| model["id"] == agent.name.as_str());
    let model = model.with_context(|| format!("{} is no model: {models}", agent.name))?;
    ensure!(
        models["object"] == "list" && model["object"] == "model",
        "objects: {models}"
    );
    ensure!(
        model["created"].is_u64() && model["owned_by"].is_string(),
        "model: {model}"
    );

    let mut body = user(&run_python("print(6*7)"));
    body["model"] = json!(agent.name);
    let (status, answer) = agent.server.post("/v1/chat/completions", &body).await?;
    ensure!(status == StatusCode::OK, "/v1/chat/completions: {status} {answer}");
    ensure!(
        text_of(&answer["choices"][0], "message").contains("42"),
        "answer: {answer}"
    );
    body["model"] = json!("nobody");
    let (status, answer) = agent.server.post("/v1/chat/completions", &body).await?;
    ensure!(status == StatusCode::NOT_FOUND, "an unknown model: {status}");
    ensure!(
        answer["error"]["code"] == "model_not_found",
        "an unknown model: {answer}"
    );
    is_error(&answer)
}

/// Each client gets the output of its own script.
async fn many_at_once(agent: &Subject) -> Result<()> {
    try_join_all((0..4).map(async |number| {
        let answer = agent
            .server
            .ask(&agent.name, &run_python(&format!("print({number} + 73000)")))
            .await?;
        ensure!(
            answer.contains(&format!("{}", number + 73000)),
            "client {number} got: {answer}"
        );
        Ok(())
    }))
    .await?;
    Ok(())
}

/// What the server says at `path`, which must be there.
async fn get(agent: &Subject, path: &str) -> Result<Value> {
    let (status, text) = agent.server.get(path).await?;
    ensure!(status == StatusCode::OK, "{path}: {status} {text}");
    serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
}

/// OpenAI's error object has four keys, nullable ones included.
fn is_error(answer: &Value) -> Result<()> {
    let error = answer["error"]
        .as_object()
        .with_context(|| format!("no error object: {answer}"))?;
    for key in ["message", "type", "param", "code"] {
        ensure!(error.contains_key(key), "the error has no {key}: {answer}");
    }
    ensure!(
        error["message"].as_str().is_some_and(|text| !text.is_empty()),
        "an empty message: {answer}"
    );
    Ok(())
}

fn path(agent: &Subject) -> String {
    format!("/{}/chat/completions", agent.name)
}

fn text_of<'a>(choice: &'a Value, part: &str) -> &'a str {
    choice[part]["content"].as_str().unwrap_or_default()
}
