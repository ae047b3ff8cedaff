//! `POST /v1/scripts`: the wire types, the HTTP client, and the trait that an agent runs scripts through.
//!
//! Knows nothing of pods or of Kubernetes: the same trait is implemented by the client here (a cluster) and by the
//! local runner (one machine).

mod client;
mod wire;

use async_trait::async_trait;

pub use client::{Client, ClientSettings};
pub use wire::{
    DEFAULT_TIMEOUT_SECONDS, ErrorBody, ErrorDetail, MAX_INPUT_BYTES, MAX_SCRIPT_BYTES, MAX_TIMEOUT_SECONDS,
    ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult,
};

/// Audience of the tokens that the scripts manager accepts.
pub const AUDIENCE: &str = "rockbot-scripts-manager";

/// Something that runs one script in a sandbox that nobody used before.
#[async_trait]
pub trait ScriptRunner: Send + Sync {
    /// Runs `request` and returns what the script printed and how it ended.
    ///
    /// A script that fails or times out is a result, not an error; an error means that it was not run to its end.
    ///
    /// # Errors
    /// [`ScriptError`] with a code from [`ScriptErrorCode`]; `retryable` says whether the script certainly did not run.
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError>;
}
