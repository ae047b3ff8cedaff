//! Runs scripts on this machine: a supervisor as a child process, its own for each script.
//!
//! The same source, frames and filter as in a pod, without the pod's walls around them. Knows nothing of Kubernetes.

mod packages;
mod pool;
mod process;
mod python;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use rockbot_sandbox::{Caps, Run, Walls};
use rockbot_scripts_api::{OutputChunk, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    time::timeout,
};

pub use packages::PackageSettings;

use packages::Packages;
use pool::Pool;
use process::Sandbox;
use python::Python;

/// Scripts that run at the same time; this is somebody's laptop.
const MAX_CONCURRENT: usize = 8;
/// How long a script waits for its turn.
const QUEUE_DEADLINE: Duration = Duration::from_secs(60);
/// What a supervisor may take beyond the script's own time before it counts as lost.
const MARGIN: Duration = Duration::from_secs(5);

/// Which walls this machine can put around a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Python's version.
    pub python: String,
    /// Names of those that hold.
    pub held: Vec<String>,
    /// Names of those that are missing. A script runs only where none is.
    pub missing: Vec<String>,
}

/// Runs each script in a fresh child process. Clones share what is parked.
#[derive(Clone, Debug)]
pub struct LocalRunner {
    python: Arc<Python>,
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
    packages: Arc<Packages>,
}

impl LocalRunner {
    /// A runner that keeps `pool_size` sandboxes parked, so that a script does not wait for Python to start.
    ///
    /// # Errors
    /// When this machine has no `python3`.
    pub fn new(pool_size: usize) -> Result<Self, ScriptError> {
        let runner = Self::with_python(Python::find()?, pool_size);
        // Outside a runtime the first script finds the pool empty, and fills it.
        if Handle::try_current().is_ok() {
            runner.pool.refill();
        }
        Ok(runner)
    }

    fn with_python(python: Python, pool_size: usize) -> Self {
        let python = Arc::new(python);
        Self {
            pool: Pool::new(Arc::clone(&python), pool_size),
            turns: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            packages: Arc::new(Packages::new(Arc::clone(&python), PackageSettings::default())),
            python,
        }
    }

    /// A runner for one script: nothing is started before or after it.
    ///
    /// # Errors
    /// When this machine has no `python3`.
    pub fn single_use() -> Result<Self, ScriptError> {
        Self::new(0)
    }

    /// The same runner with packages from elsewhere.
    #[must_use]
    pub fn with_packages(mut self, settings: PackageSettings) -> Self {
        self.packages = Arc::new(Packages::new(Arc::clone(&self.python), settings));
        self
    }

    /// Starts a sandbox that goes without the walls that are missing, and asks it which.
    ///
    /// # Errors
    /// When no sandbox starts even so.
    pub async fn inspect(&self) -> Result<Inspection, ScriptError> {
        let sandbox = Sandbox::start(self.python.path().await, Walls::Baseline).await?;
        let ready = sandbox.ready();
        Ok(Inspection {
            python: ready.python.clone(),
            held: ready.walls.clone(),
            missing: ready.missing.clone(),
        })
    }

    /// How many sandboxes are parked now.
    pub fn parked(&self) -> usize {
        self.pool.parked()
    }

    /// The interpreter that runs scripts.
    pub async fn interpreter(&self) -> &Path {
        self.python.path().await
    }
}

/// How the names of the directories begin that this process makes for scripts, among the temporary files. None is left
/// once their scripts have ended and nothing is parked.
pub fn directory_prefix() -> String {
    process::directory_prefix()
}

#[async_trait]
impl ScriptRunner for LocalRunner {
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        self.run_one(request, None).await
    }

    async fn run_streaming(
        &self,
        request: ScriptRequest,
        output: mpsc::Sender<OutputChunk>,
    ) -> Result<ScriptResult, ScriptError> {
        self.run_one(request, Some(&output)).await
    }
}

impl LocalRunner {
    async fn run_one(
        &self,
        request: ScriptRequest,
        output: Option<&mpsc::Sender<OutputChunk>>,
    ) -> Result<ScriptResult, ScriptError> {
        request.validate()?;
        let layer = self.packages.layer(&request).await?;
        let Ok(Ok(_turn)) = timeout(QUEUE_DEADLINE, self.turns.acquire()).await else {
            let message = format!("{MAX_CONCURRENT} scripts are running on this machine already; try again later");
            return Err(ScriptError::new(ScriptErrorCode::Overloaded, message).retryable(Some(1)));
        };
        let mut sandbox = self.pool.take().await?;
        if let Some(layer) = layer {
            sandbox.install(&layer.path).await?;
        }
        let limit = Duration::from_secs(request.timeout_seconds.into()) + MARGIN;
        let run = Run::new(request, Caps::default());
        let result = sandbox.run(&run, output, limit).await;
        self.pool.refill();
        result
    }
}
