//! Model providers: the chat wire types, one adapter per wire, and the one stream of events that all of them yield.
//!
//! Knows nothing of agents, tools or HTTP servers. A wire that is added later gets a folder beside [`openai`] and an arm
//! in `wire::of`; sending, retrying, timing out and falling back are the same for all.

mod anthropic;
pub mod chat;
mod choice;
mod content;
mod demo;
mod error;
mod event;
mod failover;
mod gemini;
mod metrics;
mod observe;
mod openai;
mod parts;
mod reasoning;
mod refusal;
mod remote;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chat::ChatRequest;
pub use demo::Demo;
pub use error::{ModelError, ModelErrorKind};
pub use event::{Event, EventStream, ToolCallDelta, Usage};
use failover::Failover;
pub use metrics::Metrics;
use observe::Observed;
pub use reasoning::REASONING_DETAILS;
pub use remote::Endpoints;
use remote::Remote;
use rockbot_agent_config::ModelConfig;

/// A provider that wants a longer pause is not waited for: the client gets its Retry-After instead.
const PATIENCE: Duration = Duration::from_secs(10);
/// With another model to turn to there is little to wait for.
const PATIENCE_WITH_FALLBACK: Duration = Duration::from_secs(1);

/// A model that answers one request with a stream of events.
#[async_trait]
pub trait Model: Send + Sync {
    /// Sends `request` and returns as soon as the answer has begun. Dropping the stream ends the request.
    ///
    /// # Errors
    /// [`ModelError`] when the provider refuses or cannot be reached; the stream itself yields what goes wrong later.
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError>;

    /// What keeps it from answering, as far as that is known without asking. Tells neither addresses nor keys.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The model that `config` names, with those that stand in for it, among `endpoints` and counted in `metrics`. Nothing is
/// sent yet.
///
/// # Errors
/// When a base URL is no URL.
pub fn connect(config: &ModelConfig, endpoints: &Endpoints, metrics: &Metrics) -> Result<Arc<dyn Model>, ModelError> {
    let last = config.fallbacks.len();
    let models = std::iter::once(config).chain(&config.fallbacks).enumerate();
    let models: Result<Vec<Box<dyn Model>>, ModelError> = models
        .map(|(index, config)| {
            let patience = if index == last {
                PATIENCE
            } else {
                PATIENCE_WITH_FALLBACK
            };
            let wire = wire::of(config)?;
            let url = wire.as_ref().map(|wire| wire.url().clone());
            let model: Box<dyn Model> = match wire {
                Some(wire) => Box::new(Remote::new(config, wire, endpoints.clone(), patience)),
                None => Box::new(Demo),
            };
            Ok(Box::new(Observed::new(model, config, url.as_ref(), metrics)) as Box<dyn Model>)
        })
        .collect();
    Ok(Arc::new(Failover(models?)))
}

#[cfg(test)]
mod tests;
