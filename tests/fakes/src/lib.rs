//! A scripted model provider: OpenAI's chat completions, Anthropic's Messages and Gemini's `streamGenerateContent` as the
//! wires have them, saying what a test tells it to say.
//!
//! The base URL chooses a scenario: `http://HOST/{scenario}/v1`, and for Gemini `http://HOST/{scenario}/v1beta`. The
//! [`builtin`] ones decide from the messages alone, so that tests that run side by side do not meet. `POST /script` uploads
//! another, whose steps answer one request each, on whatever wire it comes:
//!
//! ```json
//! { "name": "weather", "steps": [
//!   { "calls": [{ "name": "get_weather", "arguments": { "city": "Paris" } }] },
//!   { "content": "It rains in Paris." },
//!   { "error": { "status": 429, "retry_after": 1, "body": { "error": { "message": "slow down" } } } }
//! ] }
//! ```
//!
//! `GET /{scenario}/requests` tells which requests came and whether their answers were read to the end.
//! Beside the models, [`otlp`] takes traces and metrics.
//! Streams only, as an agent never asks for anything else, and wants a key: any but `sk-wrong`.

pub mod builtin;
pub mod otlp;
mod recorder;
mod server;
mod step;
mod wire;

use std::{io, net::SocketAddr};

pub use otlp::FakeCollector;
pub use recorder::{Outcome, Recorded};
pub use server::serve;
pub use step::{Call, Refusal, Step};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::server::Provider;

/// A provider on a port of its own, for tests in the same process. It stops when dropped.
pub struct FakeModel {
    address: SocketAddr,
    provider: Provider,
    task: JoinHandle<()>,
}

impl FakeModel {
    /// Starts a provider on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let provider = Provider::default();
        let router = server::router(provider.clone());
        // A provider that cannot serve shows as a failure of whoever asks it.
        let task = tokio::spawn(async move { drop(server::run(listener, router).await) });
        Ok(Self {
            address,
            provider,
            task,
        })
    }

    /// What an agent's `baseUrl` must be to get `scenario` from OpenAI or Anthropic.
    pub fn base_url(&self, scenario: &str) -> String {
        format!("{}/v1", self.root(scenario))
    }

    /// The part of the URLs of `scenario` that all wires share: each adds its version.
    pub fn root(&self, scenario: &str) -> String {
        format!("http://{}/{scenario}", self.address)
    }

    /// Sets the steps of `scenario` and returns its base URL.
    pub fn script(&self, scenario: &str, steps: impl IntoIterator<Item = Step>) -> String {
        self.provider.upload(scenario, steps.into_iter().collect());
        self.base_url(scenario)
    }

    /// The requests that came to `scenario`, in order.
    pub fn requests(&self, scenario: &str) -> Vec<Recorded> {
        self.provider.requests(scenario)
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}
