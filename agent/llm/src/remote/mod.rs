//! A model behind a provider's endpoint, whatever its wire.
//!
//! Always asks for a stream. While an answer has said nothing, a request that failed in passing is sent again a few
//! times; from its first word on an answer belongs to the client, and a stream that breaks is an error.

mod answer;
mod breaker;
mod http;
mod retry;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub(crate) use answer::Answer;
use answer::Body;
use async_trait::async_trait;
use breaker::{Gate, Verdict};
use bytes::Bytes;
use futures::StreamExt;
pub(crate) use http::Clients;
use rand::Rng;
use rockbot_agent_config::ModelConfig;
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use crate::{EventStream, Model, ModelError, ModelErrorKind as Kind, chat::ChatRequest, wire::Wire};

/// How long an accepted answer may say nothing before the client is told that it has begun: beyond it, a client that
/// waits for the head of its own answer would give up.
const COMMIT_AFTER: Duration = Duration::from_secs(5);

/// A model behind an endpoint.
pub(crate) struct Remote {
    clients: Arc<Clients>,
    wire: Box<dyn Wire>,
    key_file: Option<PathBuf>,
    /// Longest silence: until the head of a response, and between two pieces of its body.
    idle: Duration,
    /// Longest pause before a request is sent again.
    patience: Duration,
    gate: Gate,
}

impl Remote {
    pub(crate) fn new(config: &ModelConfig, wire: Box<dyn Wire>, clients: Arc<Clients>, patience: Duration) -> Self {
        Self {
            clients,
            wire,
            key_file: config.api_key_file.clone(),
            idle: Duration::from_secs(config.timeout_seconds.into()),
            patience,
            gate: Gate::default(),
        }
    }

    /// Asks once, until the answer says something.
    async fn ask(&self, key: Option<&SecretString>, body: Bytes) -> Result<Answer<Body>, ModelError> {
        let response = self.clients.send(&*self.wire, key, body, self.idle).await?;
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
            let mut error = match result {
                Ok(answer) => return Ok(answer.boxed()),
                Err(error) => error,
            };
            // A provider, or a proxy before it, may repeat what it was sent.
            if let Some(key) = &key {
                error.message = error.message.replace(key.expose_secret(), "***");
            }
            let pause = retry::pause(&error, attempt, self.patience, rand::rng().random());
            warn!(attempt, kind = ?error.kind, retry_in = ?pause, "the model provider did not answer a request: {error}");
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }
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
