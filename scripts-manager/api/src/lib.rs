//! `POST /v1/scripts`: the wire types, the HTTP client, and the trait that an agent runs scripts through.
//!
//! Knows nothing of pods or of Kubernetes: the same trait is implemented by the client here (a cluster) and by the
//! local runner (one machine).

mod client;
mod packages;
mod wire;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use client::{Client, ClientSettings};
pub use packages::{Allow, PackageName, Requirement, Requirements};
pub use wire::{
    DEFAULT_TIMEOUT_SECONDS, DroppedFile, ErrorBody, ErrorDetail, MAX_INPUT_BYTES, MAX_INPUT_VARIABLE_BYTES,
    MAX_PACKAGES, MAX_SCRIPT_BYTES, MAX_TIMEOUT_SECONDS, OutputChunk, OutputFile, OutputStream, ScriptError,
    ScriptErrorCode, ScriptRequest, ScriptResult, longest_wait,
};

/// Header with a name of the caller's for one run: asking again with the same name within ten minutes gives the first
/// answer and runs nothing.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

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

    /// The same, and sends what the script writes to `output` while it runs. The result carries all of it again.
    ///
    /// A receiver that is slow gets it later, in larger pieces; one that is gone changes nothing.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    async fn run_streaming(
        &self,
        request: ScriptRequest,
        output: mpsc::Sender<OutputChunk>,
    ) -> Result<ScriptResult, ScriptError>;
}
