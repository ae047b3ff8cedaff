//! Runs scripts on this machine: a supervisor as a child process, its own for each script.
//!
//! The same source, frames and filter as in a pod, without the pod's walls around them. Knows nothing of Kubernetes.

mod process;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rockbot_sandbox::{MAX_OUTPUT_BYTES, Run};
use rockbot_scripts_api::{ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{sleep, timeout},
};

use process::Sandbox;

/// Scripts that run at the same time; this is somebody's laptop.
const MAX_CONCURRENT: usize = 8;
/// A new sandbox starts this long after a script, so that what follows the script's answer does not wait for it.
const REFILL_DELAY: Duration = Duration::from_millis(50);
/// How long a script waits for its turn.
const QUEUE_DEADLINE: Duration = Duration::from_secs(60);
/// What a supervisor may take beyond the script's own time before it counts as lost.
const MARGIN: Duration = Duration::from_secs(5);

/// Runs each script in a fresh child process. Clones share what is parked.
#[derive(Clone, Debug)]
pub struct LocalRunner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    python: PathBuf,
    pool_size: usize,
    parked: Mutex<VecDeque<Sandbox>>,
    turns: Semaphore,
}

impl LocalRunner {
    /// A runner that keeps `pool_size` sandboxes parked, so that a script does not wait for Python to start.
    ///
    /// # Errors
    /// When this machine has no `python3`.
    pub fn new(pool_size: usize) -> Result<Self, ScriptError> {
        let shared = Arc::new(Shared {
            python: process::find_python()?,
            pool_size,
            parked: Mutex::default(),
            turns: Semaphore::new(MAX_CONCURRENT),
        });
        // Outside a runtime the first script finds the pool empty, and fills it.
        if Handle::try_current().is_ok() {
            shared.refill();
        }
        Ok(Self { shared })
    }

    /// A runner for one script: nothing is started before or after it.
    ///
    /// # Errors
    /// When this machine has no `python3`.
    pub fn single_use() -> Result<Self, ScriptError> {
        Self::new(0)
    }
}

#[async_trait]
impl ScriptRunner for LocalRunner {
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        request.validate()?;
        let run = Run::new(&request, MAX_OUTPUT_BYTES);
        let Ok(Ok(_turn)) = timeout(QUEUE_DEADLINE, self.shared.turns.acquire()).await else {
            let message = format!("{MAX_CONCURRENT} scripts are running on this machine already; try again later");
            return Err(ScriptError::new(ScriptErrorCode::Overloaded, message).retryable(Some(1)));
        };
        let sandbox = match self.shared.take_parked().await {
            Some(sandbox) => sandbox,
            None => Sandbox::start(&self.shared.python).await?,
        };
        let limit = Duration::from_secs(request.timeout_seconds.into()) + MARGIN;
        let result = sandbox.run(&run, limit).await;
        self.shared.refill();
        result
    }
}

impl Shared {
    /// A parked sandbox that is still alive.
    async fn take_parked(&self) -> Option<Sandbox> {
        loop {
            let mut sandbox = self.parked.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
            if sandbox.is_alive().await {
                return Some(sandbox);
            }
        }
    }

    /// Starts what the pool lacks, in the background.
    fn refill(self: &Arc<Self>) {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner).len();
        for _ in parked..self.pool_size {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                sleep(REFILL_DELAY).await;
                match Sandbox::start(&shared.python).await {
                    Ok(sandbox) => {
                        let mut parked = shared.parked.lock().unwrap_or_else(PoisonError::into_inner);
                        // Several scripts may have ended at once, and each saw the same lack.
                        if parked.len() < shared.pool_size {
                            parked.push_back(sandbox);
                        }
                    }
                    Err(error) => tracing::warn!(%error, "no sandbox could be parked"),
                }
            });
        }
    }
}
