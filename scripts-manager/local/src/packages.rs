//! Packages for scripts on this machine: installed by pip as a child process, which has the network that this user has.

use std::{env, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use rockbot_sandbox::{Place, installer_command};
use rockbot_scripts_api::{Allow, Requirements, ScriptError, ScriptErrorCode, ScriptRequest};
use rockbot_scripts_packages::{
    INSTALL_DEADLINE, Installed, Installer, Layer, LayerStore, Order, StoreSettings, Wanted, converse,
};
use tokio::{fs::File, process::Command, sync::OnceCell, time::timeout};

use crate::python::{Python, ask};

/// Bytes of archives to keep.
const CACHE_BYTES: u64 = 2 << 30;
/// What an installer may take beyond its own deadline.
const MARGIN: Duration = Duration::from_secs(15);
/// How long an installer may take to end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// What packages must fit.
const ASK: &str = "import sysconfig; print(sysconfig.get_config_var('SOABI'), sysconfig.get_platform())";

/// Where packages come from and where they are kept.
#[derive(Clone, Debug)]
pub struct PackageSettings {
    /// Directory of the cache.
    pub directory: PathBuf,
    /// URL of a simple index (PEP 503), and nothing but it; without one, what this user's pip is configured to.
    pub index: Option<String>,
    /// Packages that scripts may name.
    pub allow: Allow,
}

impl Default for PackageSettings {
    /// Every package of the usual index, kept in the user's cache.
    fn default() -> Self {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.filter(|path| path.is_absolute());
        let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
        Self {
            directory: cache.unwrap_or_else(env::temp_dir).join("rockbot/packages"),
            index: None,
            allow: Allow::Any,
        }
    }
}

/// On one machine nobody competes for installers.
const ONE_CALLER: &str = "this machine";

/// The packages of one runner. Nothing is opened before a script names one.
#[derive(Debug)]
pub(crate) struct Packages {
    python: Arc<Python>,
    settings: PackageSettings,
    store: OnceCell<LayerStore>,
}

impl Packages {
    pub(crate) fn new(python: Arc<Python>, settings: PackageSettings) -> Self {
        Self {
            python,
            settings,
            store: OnceCell::new(),
        }
    }

    /// The layer that a script needs, if it names packages.
    pub(crate) async fn layer(&self, request: &ScriptRequest) -> Result<Option<Arc<Layer>>, ScriptError> {
        let requirements = Requirements::parse(&request.pip_packages)?;
        if requirements.is_empty() {
            return Ok(None);
        }
        let store = self.store.get_or_try_init(|| self.open()).await?;
        store.layer(&requirements, ONE_CALLER).await.map(Some)
    }

    async fn open(&self) -> Result<LayerStore, ScriptError> {
        let PackageSettings {
            directory,
            index,
            allow,
        } = self.settings.clone();
        let from = index.as_deref().unwrap_or("as pip is configured");
        let python = self.python.path().await;
        let what = ask(python, ASK).await.map_err(|error| unavailable(error.message))?;
        let installer = LocalInstaller {
            environment: format!("{what} {from}"),
            python: python.to_owned(),
            index,
        };
        let settings = StoreSettings {
            directory: directory.clone(),
            max_bytes: CACHE_BYTES,
            allow,
        };
        LayerStore::open(settings, installer).map_err(|error| {
            let message = format!("cannot keep packages in {}: {error}", directory.display());
            ScriptError::new(ScriptErrorCode::Internal, message)
        })
    }
}

#[derive(Debug)]
struct LocalInstaller {
    python: PathBuf,
    index: Option<String>,
    environment: String,
}

#[async_trait]
impl Installer for LocalInstaller {
    fn environment(&self) -> &str {
        &self.environment
    }

    async fn install(&self, wanted: Wanted<'_>, archive: &mut File) -> Result<Installed, ScriptError> {
        let directory = tempfile::Builder::new()
            .prefix("rockbot-packages-")
            .tempdir()
            .map_err(|error| unavailable(format!("cannot make a directory for them: {error}")))?;
        // pip finds its configuration, its proxies and its keys in the environment; no code of a package sees them.
        let mut child = Command::new(&self.python)
            .args(&installer_command(Place::Local)[1..])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| unavailable(format!("cannot start {}: {error}", self.python.display())))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(unavailable("a child process without its pipes"));
        };
        let order = Order::new(wanted, self.index.as_deref());
        let limit = INSTALL_DEADLINE + MARGIN;
        let installed = timeout(limit, converse(stdout, stdin, &order, archive))
            .await
            .unwrap_or_else(|_| Err(unavailable(format!("the installer did not answer within {limit:?}"))));
        // The end of its stdin ends it, and the pip that it started.
        if timeout(END_DEADLINE, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        installed
    }
}

/// No script was started yet.
fn unavailable(why: impl std::fmt::Display) -> ScriptError {
    let message = format!("packages could not be installed: {why}");
    ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(1))
}
