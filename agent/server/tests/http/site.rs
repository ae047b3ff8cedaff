//! A server with agents and a scripted model, and a client to talk to it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use rockbot_agent::{Environment, skills::Skill};
use rockbot_agent_config::AgentConfig;
use rockbot_agent_server::{Drain, Loopback, Server, serve};
use rockbot_fakes::{FakeModel, Step};
use rockbot_scripts_api::{OutputChunk, OutputFile, ScriptError, ScriptRequest, ScriptResult, ScriptRunner};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Barrier, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A caller's `traceparent`.
pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) struct Site {
    pub(crate) server: Arc<Server>,
    pub(crate) model: FakeModel,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    base: String,
    http: Client,
}

/// A "sandbox" that answers with the script itself. `sleep` never ends; three scripts that `meet` wait for each other,
/// and the `slow` one of them comes last.
struct Echo {
    meeting: Barrier,
}

#[async_trait]
impl ScriptRunner for Echo {
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        if request.script == "sleep" {
            std::future::pending::<()>().await;
        }
        if request.script.contains("meet") {
            self.meeting.wait().await;
        }
        if request.script.contains("slow") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let plot = OutputFile {
            name: "plot.png".to_owned(),
            media_type: "image/png".to_owned(),
            data: "aGk=".to_owned(),
        };
        Ok(ScriptResult {
            files: request.script.contains("plot").then_some(plot).into_iter().collect(),
            stdout: request.script,
            script_id: "echo".to_owned(),
            ..ScriptResult::default()
        })
    }

    async fn run_streaming(
        &self,
        request: ScriptRequest,
        _: mpsc::Sender<OutputChunk>,
    ) -> Result<ScriptResult, ScriptError> {
        self.run(request).await
    }
}

impl Site {
    /// A server without agents.
    pub(crate) async fn start() -> Self {
        Self::with_skills(Vec::new()).await
    }

    /// A server without agents; those that come have these skills.
    pub(crate) async fn with_skills(skills: Vec<Arc<dyn Skill>>) -> Self {
        let model = FakeModel::start().await.unwrap();
        let scripts = Echo {
            meeting: Barrier::new(3),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let server = Server::within(Environment {
            scripts: Some(Arc::new(scripts)),
            directory: Some(Arc::new(Loopback::of(address))),
            skills,
            ..Environment::default()
        });
        let shutdown = CancellationToken::new();
        let drain = Drain {
            linger: Duration::from_millis(300),
            deadline: Duration::from_secs(2),
        };
        let serving = tokio::spawn(serve(listener, Arc::clone(&server), drain, shutdown.clone()));
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self {
            server,
            model,
            shutdown,
            serving,
            base,
            http,
        }
    }

    /// A server with the agent `a`, whose model follows `steps`. It may run scripts.
    pub(crate) async fn scripted(steps: impl IntoIterator<Item = Step>) -> Self {
        let site = Self::start().await;
        let url = site.model.script("scripted", steps);
        site.set(vec![agent("a", &url)]);
        site
    }

    pub(crate) fn set(&self, configs: Vec<Value>) {
        let configs = configs
            .into_iter()
            .map(|config| serde_json::from_value::<AgentConfig>(config).unwrap());
        self.server.set_agents(configs.collect()).unwrap();
    }

    /// Bodies of the requests that reached the scripted model.
    pub(crate) fn model_saw(&self) -> Vec<Value> {
        self.model
            .requests("scripted")
            .into_iter()
            .map(|request| request.body)
            .collect()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).json(body)
    }

    pub(crate) async fn get_text(&self, path: &str) -> (StatusCode, String) {
        let response = self.get(path).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub(crate) async fn get_json(&self, path: &str) -> (StatusCode, Value) {
        let (status, text) = self.get_text(path).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}")),
        )
    }

    pub(crate) async fn delete_json(&self, path: &str) -> (StatusCode, Value) {
        let response = self.http.delete(format!("{}{path}", self.base)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Asks the agent `a`.
    pub(crate) async fn ask(&self, body: Value) -> (StatusCode, Value) {
        self.ask_at("/a/chat/completions", body).await
    }

    pub(crate) async fn ask_at(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let response = self.post(path, &body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Asks the agent `a` for a stream and reads its `data:` events.
    pub(crate) async fn stream(&self, mut body: Value) -> Vec<String> {
        body["stream"] = json!(true);
        events(self.post("/a/chat/completions", &body).send().await.unwrap()).await
    }

    /// Waits until `/metrics` has `line`.
    pub(crate) async fn metric(&self, line: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (_, text) = self.get_text("/metrics").await;
            if text.lines().any(|other| other == line) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {line} in:\n{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An agent on the model at `url` that may run scripts.
pub(crate) fn agent(name: &str, url: &str) -> Value {
    json!({
        "name": name,
        "instructions": format!("You are {name}."),
        "model": { "provider": "OpenAI", "name": "scripted", "baseUrl": url, "apiKeyFile": key_file() },
        "tools": { "scripts": { "timeoutSeconds": 30 } },
    })
}

/// A file with a key that the scripted model accepts.
pub(crate) fn key_file() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/key.txt").to_owned()
}

pub(crate) fn user(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

pub(crate) async fn events(response: Response) -> Vec<String> {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let text = response.text().await.unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(str::to_owned)
        .collect()
}

/// The chunks before `[DONE]`.
pub(crate) fn chunks(events: &[String]) -> Vec<Value> {
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    chunks
        .iter()
        .map(|chunk| serde_json::from_str(chunk).unwrap())
        .collect()
}

/// The text of a streamed answer.
pub(crate) fn text(chunks: &[Value]) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect()
}
