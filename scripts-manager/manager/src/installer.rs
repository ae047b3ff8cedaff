//! Packages for scripts: each set that is not in the cache is installed by a pod of its own, the only kind with a network.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use rockbot_identity::Caller;
use rockbot_sandbox::INSTALLER_CONTAINER;
use rockbot_scripts_api::{Allow, Requirements, ScriptError, ScriptErrorCode, ScriptRequest};
use rockbot_scripts_packages::{
    INSTALL_DEADLINE, Installed, Installer, Layer, LayerStore, Order, StoreSettings, Wanted, converse,
};
use tokio::{
    fs::File,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    args::{Args, PackageIndex},
    claims::Claim,
    metrics::{InstallResult, Metrics},
    pod::{Pods, StartError},
};

/// What an installer may take beyond its own deadline.
const MARGIN: Duration = Duration::from_secs(15);

/// The packages that scripts may name, or none.
pub(crate) struct Packages {
    store: Option<LayerStore>,
    installs: TaskTracker,
}

impl Packages {
    /// Opens the cache, if there is an index to fill it from.
    pub(crate) fn new(args: &Args, pods: Pods, metrics: Arc<Metrics>, stop: CancellationToken) -> anyhow::Result<Self> {
        let installs = TaskTracker::new();
        let Some(index) = &args.package_index else {
            return Ok(Self { store: None, installs });
        };
        let settings = StoreSettings {
            directory: args.package_cache.clone(),
            // The rest is for what is being installed.
            max_bytes: args.package_cache_size / 4 * 3,
            allow: Allow::parse(&named(&args.package_allow))
                .map_err(|problem| anyhow!("--package-allow: {problem}"))?,
        };
        let installer = PodInstaller {
            environment: format!("{} {}", args.image, index.as_str()),
            index: index.clone(),
            pods,
            metrics,
            stop,
            installs: installs.clone(),
        };
        let store = LayerStore::open(settings, installer)
            .with_context(|| format!("cannot use the package cache {}", args.package_cache.display()))?;
        Ok(Self {
            store: Some(store),
            installs,
        })
    }

    /// The layer that a script needs, if it names packages.
    pub(crate) async fn layer(
        &self,
        request: &ScriptRequest,
        caller: &Caller,
    ) -> Result<Option<Arc<Layer>>, ScriptError> {
        let requirements = Requirements::parse(&request.pip_packages)?;
        match &self.store {
            _ if requirements.is_empty() => Ok(None),
            Some(store) => store.layer(&requirements, &caller.to_string()).await.map(Some),
            None => Err(ScriptError::new(
                ScriptErrorCode::PackagesRefused,
                "pip_packages: this installation gives scripts no packages, so use the standard library alone; whoever runs it \
                 can allow them with scripts.packages.enabled=true and scripts.packages.index in the values of its Helm chart",
            )),
        }
    }

    /// Waits until every installation has ended and its pod is deleted.
    pub(crate) async fn ended(&self) {
        self.installs.close();
        self.installs.wait().await;
    }
}

/// An empty flag names nothing.
fn named(names: &[String]) -> Vec<&String> {
    names.iter().filter(|name| !name.is_empty()).collect()
}

struct PodInstaller {
    pods: Pods,
    metrics: Arc<Metrics>,
    index: PackageIndex,
    environment: String,
    stop: CancellationToken,
    installs: TaskTracker,
}

impl PodInstaller {
    async fn run(&self, claim: &mut Claim, wanted: Wanted<'_>, archive: &mut File) -> Result<Installed, ScriptError> {
        self.pods.start_installer(claim).await.map_err(not_started)?;
        let (stdout, stdin) = self
            .pods
            .attach(claim.name(), INSTALLER_CONTAINER)
            .await
            .map_err(not_started)?;
        let order = Order::new(wanted, Some(self.index.as_str()));
        let limit = INSTALL_DEADLINE + MARGIN;
        let installed = timeout(limit, converse(stdout, stdin, &order, archive))
            .await
            .unwrap_or_else(|_| Err(unavailable(format!("it did not answer within {limit:?}"))));
        match installed {
            Err(error) if error.code == ScriptErrorCode::SandboxUnavailable => Err(explained(error, claim).await),
            installed => installed,
        }
    }
}

#[async_trait]
impl Installer for PodInstaller {
    fn environment(&self) -> &str {
        &self.environment
    }

    async fn install(&self, wanted: Wanted<'_>, archive: &mut File) -> Result<Installed, ScriptError> {
        let installation = async {
            let begin = Instant::now();
            let mut claim = self.pods.claims().claim("packages");
            let installed = tokio::select! {
                installed = self.run(&mut claim, wanted, archive) => installed,
                () = self.stop.cancelled() => Err(not_started(StartError::Stopping)),
            };
            self.metrics.installed(InstallResult::of(&installed), begin.elapsed());
            self.pods.delete(claim.name()).await;
            installed
        };
        self.installs.track_future(installation).await
    }
}

/// An installer that was lost: killed for its memory, perhaps, or evicted.
async fn explained(mut error: ScriptError, claim: &mut Claim) -> ScriptError {
    if let Some(cause) = claim.verdict().await.cause {
        error.message += "; of its pod Kubernetes says: ";
        error.message += &cause;
    }
    error
}

fn not_started(error: StartError) -> ScriptError {
    unavailable(error.to_string())
}

/// No script was sent anywhere yet.
fn unavailable(why: String) -> ScriptError {
    let message = format!("packages could not be installed: {why}");
    ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(5))
}
