//! A model behind a provider's endpoint, whatever its wire.
//!
//! Always asks for a stream. While an answer has said nothing, a request that failed in passing is sent again a few
//! times; from its first word on an answer belongs to the client, and a stream that breaks is an error.

mod answer;
mod breaker;
mod http;
mod retry;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

pub(crate) use answer::Answer;
use answer::Body;
use async_trait::async_trait;
use breaker::{Gate, Verdict};
use bytes::Bytes;
use futures::StreamExt;
use http::Clients;
use rand::Rng;
use rockbot_agent_config::ModelConfig;
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;
use url::Url;

use crate::{EventStream, Model, ModelError, ModelErrorKind as Kind, chat::ChatRequest, wire::Wire};

/// How long an accepted answer may say nothing before the client is told that it has begun: beyond it, a client that
/// waits for the head of its own answer would give up.
const COMMIT_AFTER: Duration = Duration::from_secs(5);

/// What the models of a process have in common: connections, and what is known of endpoints. Clones are the same.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<Inner>);

#[derive(Default)]
struct Inner {
    clients: Clients,
    /// By URL and model, because behind the URL of a gateway one model may fail while its fallback works.
    gates: Mutex<HashMap<(Url, String), Weak<Gate>>>,
}

impl Endpoints {
    /// The gate before `model` at `url`, which all share that ask it at this time.
    fn gate(&self, url: &Url, model: &str) -> Arc<Gate> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
        let known = gates.entry((url.clone(), model.to_owned())).or_default();
        known.upgrade().unwrap_or_else(|| {
            let gate = Arc::default();
            *known = Arc::downgrade(&gate);
            gate
        })
    }
}

/// A model behind an endpoint.
pub(crate) struct Remote {
    /// As its provider knows it.
    name: String,
    endpoints: Endpoints,
    wire: Box<dyn Wire>,
    key_file: Option<PathBuf>,
    /// Longest silence: until the head of a response, and between two pieces of its body.
    idle: Duration,
    /// Longest pause before a request is sent again.
    patience: Duration,
    gate: Arc<Gate>,
}

impl Remote {
    pub(crate) fn new(config: &ModelConfig, wire: Box<dyn Wire>, endpoints: Endpoints, patience: Duration) -> Self {
        Self {
            name: config.name.clone(),
            gate: endpoints.gate(wire.url(), &config.name),
            endpoints,
            wire,
            key_file: config.api_key_file.clone(),
            idle: Duration::from_secs(config.timeout_seconds.into()),
            patience,
        }
    }

    /// Asks once, until the answer says something.
    async fn ask(&self, key: Option<&SecretString>, body: Bytes) -> Result<Answer<Body>, ModelError> {
        let clients = &self.endpoints.0.clients;
        let response = clients.send(&*self.wire, key, body, self.idle).await?;
        let mut answer = Answer::new(Body::new(response, self.idle), self.wire.decoder());
        // An answer that takes its time is an answer.
        tokio::time::timeout(COMMIT_AFTER, answer.begin())
            .await
            .unwrap_or(Ok(()))?;
        Ok(answer)
    }
}

#[async_trait]
impl Model for Remote {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        let body = Bytes::from(self.wire.body(request)?);
        let key = http::read_key(self.key_file.as_ref())?;
        let mut attempt = 1;
        loop {
            let pass = self.gate.admit().map_err(broken)?;
            let result = self.ask(key.as_ref(), body.clone()).await;
            pass.close(verdict(&result));
            let error = match result {
                Ok(answer) => {
                    let safe = move |event: Result<_, _>| event.map_err(|error| without(key.as_ref(), error));
                    return Ok(answer.map(safe).boxed());
                }
                Err(error) => without(key.as_ref(), error),
            };
            let pause = retry::pause(&error, attempt, self.patience, rand::rng().random());
            warn!(
                attempt,
                kind = ?error.kind,
                status = error.status,
                retry_in = ?pause,
                "the model provider did not answer a request: {}",
                error.loggable()
            );
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }

    fn problems(&self) -> Vec<String> {
        let fails = || format!("the model {:?} has failed several times in a row", self.name);
        let open = !self.gate.is_closed();
        open.then(fails).into_iter().collect()
    }
}

/// `error` without the key: a provider, or a proxy before it, may repeat what it was sent.
fn without(key: Option<&SecretString>, mut error: ModelError) -> ModelError {
    if let Some(key) = key {
        error.message = error.message.replace(key.expose_secret(), "***");
    }
    error
}

fn verdict<T>(result: &Result<T, ModelError>) -> Verdict {
    match result.as_ref().map_err(|error| error.kind) {
        Err(Kind::Overloaded | Kind::Unreachable | Kind::Timeout | Kind::CutStream | Kind::BadResponse) => {
            Verdict::Fails
        }
        Err(Kind::RateLimited | Kind::Configuration) => Verdict::Nothing,
        Ok(_) | Err(_) => Verdict::Works,
    }
}

fn broken(again_in: Duration) -> ModelError {
    ModelError {
        retry_after: Some(again_in),
        ..ModelError::new(
            Kind::Overloaded,
            "the model provider has failed several times in a row and is left alone for a moment",
        )
    }
}
