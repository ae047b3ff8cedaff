//! Model providers: the chat wire types, one adapter per provider, and the one stream of events that all of them yield.
//!
//! Knows nothing of agents, tools or HTTP servers. A provider that is added later gets a module beside [`openai`] and
//! an arm in [`connect`].

pub mod chat;
mod demo;
mod error;
mod event;
pub mod openai;

use std::sync::Arc;

use async_trait::async_trait;
use chat::ChatRequest;
pub use demo::Demo;
pub use error::{ModelError, ModelErrorKind};
pub use event::{Event, EventStream, ToolCallDelta, Usage};
use rockbot_agent_config::{ModelConfig, Provider};

/// A model that answers one request with a stream of events.
#[async_trait]
pub trait Model: Send + Sync {
    /// Sends `request` and returns as soon as the provider has accepted it. Dropping the stream ends the request.
    ///
    /// # Errors
    /// [`ModelError`] when the provider refuses or cannot be reached; the stream itself yields what goes wrong later.
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError>;
}

/// The model that `config` names. Nothing is sent yet.
///
/// # Errors
/// When the base URL is no URL.
pub fn connect(config: &ModelConfig) -> Result<Arc<dyn Model>, ModelError> {
    Ok(match config.provider {
        Provider::OpenAI => Arc::new(openai::OpenAi::new(config)?),
        Provider::Demo => Arc::new(Demo),
    })
}
