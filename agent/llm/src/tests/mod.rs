//! Tests of all wires: recorded streams, requests as they are sent, refusals, and what becomes of faults over HTTP.

mod faults;
mod keys;
mod prices;
mod refusals;
mod requests;
mod streams;
mod thoughts;
mod words;

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use rockbot_agent_config::ModelConfig;
use rockbot_fakes::FakeModel;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::MutexGuard;
use tracing::{
    Dispatch,
    subscriber::{DefaultGuard, NoSubscriber},
};

use crate::{
    Endpoints, Event, Metrics, ModelError,
    chat::{ChatRequest, Message},
    connect,
    wire::{self, Wire},
};

/// The wires by the names of their folders, and their providers.
const WIRES: [(&str, &str); 3] = [("openai", "OpenAI"), ("anthropic", "Anthropic"), ("gemini", "Gemini")];

/// A model whose fields are `fields` where they are not these.
fn config(provider: &str, fields: Value) -> ModelConfig {
    let mut config = json!({ "provider": provider, "name": "a-model", "timeoutSeconds": 60 });
    for (name, value) in fields.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    serde_json::from_value(config).unwrap()
}

fn wire(provider: &str, fields: Value) -> Box<dyn Wire> {
    wire::of(&config(provider, fields)).unwrap().unwrap()
}

/// Compares with what is recorded. Set UPDATE=1 to record what is there now.
fn is_golden(path: &std::path::Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let recorded = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, recorded, "{}", path.display());
}

/// The files of `folder` with this extension, in order.
fn files(folder: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.to_string_lossy().ends_with(extension)).collect();
    files.sort();
    files
}

const KEY: &str = "sk-5ecret-0f-th3-t3st";

fn key_file(key: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{key}\n")).unwrap();
    file
}

/// What is logged, at any level.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// A log that takes in what this thread says.
struct Listening {
    _guard: DefaultGuard,
    /// Where there is but one listener, the thread that comes first to a place in the code decides whether that place is
    /// ever logged, and it may be one that does not listen.
    _second: Dispatch,
    _one: MutexGuard<'static, ()>,
}

impl Lines {
    /// Takes in what this thread logs while the result lives. What is worth to be logged is decided for all threads of
    /// the process, so that only one of them listens at a time.
    async fn listen(&self) -> Listening {
        static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let one = ONE.lock().await;
        let writer = self.clone();
        let log = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let second = Dispatch::new(NoSubscriber::default());
        Listening {
            _guard: tracing::subscriber::set_default(log.finish()),
            _second: second,
            _one: one,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn question() -> ChatRequest {
    ChatRequest {
        messages: vec![Message::text("user", "What is it?")],
        ..ChatRequest::default()
    }
}

/// Asks a model with these fields and returns what it says, and how it ends.
async fn ask(provider: &str, fields: Value) -> (String, Result<(), ModelError>) {
    let model = connect(&config(provider, fields), &Endpoints::default(), &Metrics::default()).unwrap();
    let mut answer = match model.stream(&question()).await {
        Ok(answer) => answer,
        Err(error) => return (String::new(), Err(error)),
    };
    let mut text = String::new();
    while let Some(event) = answer.next().await {
        match event {
            Ok(Event::Content(more)) => text.push_str(&more),
            Ok(_) => {}
            Err(error) => return (text, Err(error)),
        }
    }
    (text, Ok(()))
}

/// What `baseUrl` must be.
fn root(fake: &FakeModel, wire: &str, scenario: &str) -> String {
    match wire {
        "openai" => fake.base_url(scenario),
        _ => fake.root(scenario),
    }
}
