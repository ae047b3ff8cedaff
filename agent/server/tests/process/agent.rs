//! The binary as a pod runs it: a configuration file, variables, a log, and a signal at the end.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use rockbot_fakes::{Call, FakeModel, Step};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::scripts::Scripts;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What must never leave the process but to whom it is meant for.
pub(crate) const KEY: &str = "sk-m0del-k3y";
pub(crate) const ACCESS: &str = "sk-4ccess";
pub(crate) const TOKEN: &str = "t0ken-0f-the-agent";
/// What the user says, and what the model makes of it.
pub(crate) const QUESTION: &str = "What is six times seven, my secret?";
pub(crate) const SCRIPT: &str = "print(6 * 7)";

/// A running agent with a scripted model, which has one script run before it answers.
pub(crate) struct Agent {
    pub(crate) model: FakeModel,
    pub(crate) scripts: Scripts,
    process: Child,
    log: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    _files: TempDir,
}

/// How a process came to its end.
pub(crate) struct Ended {
    pub(crate) log: Vec<Value>,
    pub(crate) took: Duration,
}

impl Agent {
    /// Starts one with these variables, and no others of OpenTelemetry's.
    pub(crate) async fn start(variables: &[(&str, String)]) -> Self {
        let call = Call::new("execute_python_script", json!({ "script": SCRIPT }));
        Self::scripted([Step::call([call]), Step::say("It is 42.")], variables).await
    }

    /// Starts one whose model follows `steps`.
    pub(crate) async fn scripted(steps: impl IntoIterator<Item = Step>, variables: &[(&str, String)]) -> Self {
        let model = FakeModel::start().await.unwrap();
        let url = model.script("scripted", steps);
        let (scripts, manager) = Scripts::start().await;
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let config = json!({
            "name": "shop",
            "description": "Sells furniture.",
            "model": { "provider": "OpenAI", "name": "gpt-test", "baseUrl": url, "apiKeyFile": file("key", KEY) },
            "tools": { "scripts": { "timeoutSeconds": 30 } },
            "access": { "apiKeys": [{ "name": "k", "scope": "owner", "file": file("access", ACCESS) }] },
        });
        let mut process = command()
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(file("agent.json", &config.to_string()))
            .arg("--scripts-manager-url")
            .arg(format!("http://{manager}"))
            .arg("--scripts-manager-token-file")
            .arg(file("token", TOKEN))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = async {
            loop {
                let line: Value = serde_json::from_str(&log.next_line().await.unwrap().unwrap()).unwrap();
                if let Some(address) = line["address"].as_str() {
                    return address.parse().unwrap();
                }
            }
        };
        let address = timeout(PATIENCE, address).await.unwrap();
        Self {
            model,
            scripts,
            process,
            log,
            address,
            _files: files,
        }
    }

    /// A request for an answer, still without headers.
    pub(crate) fn request(&self) -> RequestBuilder {
        let body = json!({ "messages": [{ "role": "user", "content": QUESTION }], "stream": true });
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        http.post(format!("http://{}/shop/chat/completions", self.address))
            .json(&body)
    }

    /// A request for anything else.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        http.get(format!("http://{}{path}", self.address))
    }

    /// Sends it and reads the answer to its end.
    pub(crate) async fn ask(&self, request: RequestBuilder) {
        let response = request.send().await.unwrap();
        let text = response.text().await.unwrap();
        assert!(text.contains("42") && text.ends_with("data: [DONE]\n\n"), "{text}");
    }

    /// The `traceparent` of each request that the model got.
    pub(crate) fn model_saw(&self) -> Vec<String> {
        let requests = self.model.requests("scripted").into_iter();
        requests
            .map(|request| request.headers.get("traceparent").cloned().unwrap_or_default())
            .collect()
    }

    /// Names of the process's threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id().unwrap())).unwrap();
        tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
            .collect()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it to end as the kubelet does.
    pub(crate) async fn terminate(&self) {
        let pid = self.process.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    }

    /// Ends it.
    pub(crate) async fn end(self) -> Ended {
        self.terminate().await;
        self.ended().await
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let begin = Instant::now();
        let status = timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap();
        let took = begin.elapsed();
        assert!(status.success(), "{status}");
        let mut log = Vec::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            log.push(serde_json::from_str(&line).unwrap());
        }
        Ended { log, took }
    }
}

/// The binary, without the variables of whoever runs the tests.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rockbot-agent"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    command
}
