//! A script that waits for a sandbox, and a sandbox that waits for a script, as the desk sees them.

use std::sync::Arc;

use rockbot_identity::Caller;
use rockbot_sandbox::Run;
use rockbot_scripts_api::{OutputChunk, ScriptError, ScriptErrorCode, ScriptResult};
use rockbot_scripts_packages::Layer;
use rockbot_telemetry::TraceContext;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::desk::{Parked, PoolKey, Waiting};

/// What a caller is told.
pub(crate) type Answer = Result<ScriptResult, ScriptError>;

/// A script and what it is run with.
pub(crate) struct Work {
    pub run: Run,
    /// What its packages became.
    pub layer: Option<Arc<Layer>>,
    /// The packages that it names.
    pub packages: Vec<String>,
    /// Where its output goes while it runs.
    pub output: Option<mpsc::Sender<OutputChunk>>,
    /// Whether its caller can ask for its result again.
    pub idempotent: bool,
    /// The span of the request.
    pub trace: TraceContext,
}

/// Work of somebody who waits.
pub(crate) struct Job {
    pub caller: Caller,
    pub work: Work,
    pub queued: Instant,
    /// Sandboxes that were lost while its packages were unpacked in them.
    pub attempts: u32,
    pub reply: oneshot::Sender<Answer>,
}

/// A parked sandbox.
pub(super) struct Slot {
    pub name: String,
    pub key: PoolKey,
    pub offer: oneshot::Sender<Job>,
}

impl Waiting for Job {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn key(&self) -> PoolKey {
        PoolKey {
            packages: self.work.layer.as_ref().map(|layer| layer.id),
        }
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

impl Parked for Slot {
    fn name(&self) -> &str {
        &self.name
    }

    fn key(&self) -> PoolKey {
        self.key
    }
}

/// The script's fate is unknown: it may have run, wholly or in part.
pub(crate) fn lost(message: impl Into<String>) -> ScriptError {
    ScriptError::new(ScriptErrorCode::SandboxLost, message)
}
