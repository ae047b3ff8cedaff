//! The store of layers: asks an installer for what is not here, once for however many ask, and keeps it.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture, future::Shared};
use rockbot_scripts_api::{Allow, PackageName, Requirements, ScriptError, ScriptErrorCode};
use tempfile::NamedTempFile;
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    Digest, Failure, FailureKind, Installed, Installer, Layer, Locked, Wanted,
    archive::{Contents, Unfit, inspect},
    disk::{Disk, Record, Room},
    turns::{self, Turns},
};

/// How long requirements that leave versions open mean what they meant. Then the index is asked again.
const FRESH: Duration = Duration::from_secs(6 * 3600);
/// How long a refusal is repeated without asking the index again: a model may well try the same once more.
const REFUSED: Duration = Duration::from_secs(30);
/// Most refusals that are remembered.
const MAX_REFUSALS: usize = 256;
/// Layers that are remembered to be checked, although nobody uses them.
const MAX_KNOWN: usize = 256;
/// How long a caller goes from one installation to the next that others have begun and get no turn for.
const JOIN_DEADLINE: Duration = turns::DEADLINE.saturating_mul(2);

/// What an installation decides.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Directory of the cache; it is made if it is not there.
    pub directory: PathBuf,
    /// Bytes of archives to keep.
    pub max_bytes: u64,
    /// Packages that may be named.
    pub allow: Allow,
}

/// Keeps layers. Clones share everything.
pub struct LayerStore {
    shared: Arc<Store>,
}

struct Store {
    installer: Box<dyn Installer>,
    disk: Disk,
    allow: Allow,
    turns: Turns,
    /// Held by who makes room, until what is put there is known to be in use: the next one would take it for old.
    keeping: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Layers that this process has checked.
    known: HashMap<Digest, Known>,
    flights: HashMap<Digest, Flight>,
    refusals: HashMap<Digest, (Instant, ScriptError)>,
}

struct Known {
    layer: Arc<Layer>,
    /// None when it never gets old.
    fresh_until: Option<SystemTime>,
}

type Answer = Result<Arc<Layer>, ScriptError>;
type Landing = Result<Arc<Layer>, Missed>;

/// An attempt at a layer that is under way.
#[derive(Clone)]
struct Flight {
    /// Who began it.
    caller: String,
    landing: Shared<BoxFuture<'static, Landing>>,
}

/// Why an attempt brought no layer.
#[derive(Clone, Debug)]
enum Missed {
    /// It got no turn, which whoever began it has used up. Another caller may have one.
    NoTurn,
    Failed(ScriptError),
}

impl LayerStore {
    /// Opens the cache.
    ///
    /// # Errors
    /// When its directory cannot be made or read.
    pub fn open(settings: StoreSettings, installer: impl Installer) -> std::io::Result<Self> {
        let store = Store {
            installer: Box::new(installer),
            disk: Disk::open(&settings.directory, settings.max_bytes)?,
            allow: settings.allow,
            turns: Turns::new(),
            keeping: Mutex::default(),
            state: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(store),
        })
    }

    /// The layer for `requirements`, which are not none, and which `caller` names first or after others. Who comes while it is
    /// made waits for it, and it is made to its end when all of them go away.
    ///
    /// # Errors
    /// [`ScriptErrorCode::PackagesRefused`] or [`ScriptErrorCode::PackageIndexUnavailable`], or that no installer ran.
    pub async fn layer(&self, requirements: &Requirements, caller: &str) -> Answer {
        self.shared.allow.check(requirements, "scripts here")?;
        let key = Digest::of(format!("{}\n{requirements}", self.shared.installer.environment()).as_bytes());
        if let Some(layer) = self.shared.known(&key) {
            let (store, used) = (Arc::clone(&self.shared), Arc::clone(&layer));
            if blocking(move || store.disk.touch(&used.path, used.bytes)).await? {
                return Ok(layer);
            }
            self.shared.state().known.remove(&key);
        }
        let begin = Instant::now();
        loop {
            let flight = self.shared.flight(key, requirements, caller)?;
            match flight.landing.await {
                Err(Missed::NoTurn) if flight.caller != caller && begin.elapsed() < JOIN_DEADLINE => {}
                landing => return Ok(landing?),
            }
        }
    }
}

impl Clone for LayerStore {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

impl std::fmt::Debug for LayerStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LayerStore")
            .field("disk", &self.shared.disk)
            .finish_non_exhaustive()
    }
}

impl Store {
    fn known(&self, key: &Digest) -> Option<Arc<Layer>> {
        let state = self.state();
        let known = state.known.get(key)?;
        let is_fresh = known.fresh_until.is_none_or(|until| SystemTime::now() < until);
        is_fresh.then(|| Arc::clone(&known.layer))
    }

    /// The one attempt at a layer that is under way, or a new one.
    fn flight(self: &Arc<Self>, key: Digest, requirements: &Requirements, caller: &str) -> Result<Flight, ScriptError> {
        let mut state = self.state();
        state.refusals.retain(|_, (since, _)| since.elapsed() < REFUSED);
        if let Some((_, error)) = state.refusals.get(&key) {
            return Err(error.clone());
        }
        if let Some(flight) = state.flights.get(&key) {
            return Ok(flight.clone());
        }
        let (store, requirements, own) = (Arc::clone(self), requirements.clone(), caller.to_owned());
        let attempt = async move {
            let obtaining = store.obtain(key, &requirements, &own);
            let obtained = AssertUnwindSafe(obtaining).catch_unwind().await;
            let landing = obtained.unwrap_or_else(|_| Err(internal("a panic, which the log shows").into()));
            store.landed(key, &requirements, &landing);
            landing
        };
        // A task of its own: it goes on when nobody waits any more.
        let task = tokio::spawn(attempt);
        let landing = async move { task.await.unwrap_or_else(|error| Err(internal(error).into())) };
        let flight = Flight {
            caller: caller.to_owned(),
            landing: landing.boxed().shared(),
        };
        state.flights.insert(key, flight.clone());
        Ok(flight)
    }

    fn landed(&self, key: Digest, requirements: &Requirements, landing: &Landing) {
        let mut state = self.state();
        state.flights.remove(&key);
        match landing {
            Ok(layer) => tracing::info!(%requirements, layer = %layer.id, bytes = layer.bytes, "packages are here"),
            Err(Missed::NoTurn) => tracing::warn!(%requirements, "packages got no turn to be installed"),
            Err(Missed::Failed(error)) => {
                tracing::warn!(%requirements, %error, "packages cannot be had");
                if error.code == ScriptErrorCode::PackagesRefused && state.refusals.len() < MAX_REFUSALS {
                    state.refusals.insert(key, (Instant::now(), error.clone()));
                }
            }
        }
    }

    /// From the disk if it can, else from an installer.
    async fn obtain(self: &Arc<Self>, key: Digest, requirements: &Requirements, caller: &str) -> Landing {
        let store = Arc::clone(self);
        let (record, path) = blocking(move || {
            let record = store.disk.record(&key);
            let path = record.as_ref().and_then(|record| store.disk.verified(record));
            (record, path)
        })
        .await?;
        let fresh = record.as_ref().filter(|record| is_fresh(record, requirements));
        if let (Some(record), Some(path)) = (fresh, &path) {
            return Ok(self.remember(key, record, path.clone(), requirements));
        }
        let wanted = fresh.map_or(Wanted::Requirements(requirements), |record| Wanted::Lock(&record.lock));
        match (self.install(key, wanted, requirements, caller).await, record, path) {
            (Err(Missed::Failed(error)), Some(record), Some(path))
                if error.code == ScriptErrorCode::PackageIndexUnavailable =>
            {
                tracing::warn!(%requirements, %error, "packages may be out of date: the index cannot be asked");
                Ok(self.remember(key, &record, path, requirements))
            }
            (landing, ..) => landing,
        }
    }

    async fn install(
        self: &Arc<Self>,
        key: Digest,
        wanted: Wanted<'_>,
        requirements: &Requirements,
        caller: &str,
    ) -> Landing {
        let _turn = self.turns.take(caller).await.ok_or(Missed::NoTurn)?;
        let store = Arc::clone(self);
        let archive = blocking(move || store.disk.unfinished()).await?.map_err(internal)?;
        let mut writer = tokio::fs::File::from_std(archive.reopen().map_err(internal)?);
        let installed = self.installer.install(wanted, &mut writer).await?;
        tokio::io::AsyncWriteExt::flush(&mut writer).await.map_err(internal)?;
        if let Wanted::Lock(lock) = wanted
            && !same_files(lock, &installed.lock)
        {
            return Err(internal("the installer made another layer than it was told to").into());
        }
        let record = Record {
            requirements: requirements.to_string(),
            environment: self.installer.environment().to_owned(),
            abi: installed.abi.clone(),
            resolved_at: seconds_now(),
            modules: modules(&installed, requirements),
            archive: installed.sha256,
            bytes: installed.bytes,
            lock: installed.lock,
        };
        Ok(self.keep(key, record, archive, requirements).await?)
    }

    /// Looks into an archive, and keeps it if it is fit and there is room for it.
    async fn keep(
        self: &Arc<Self>,
        key: Digest,
        mut record: Record,
        archive: NamedTempFile,
        requirements: &Requirements,
    ) -> Answer {
        let (store, requirements) = (Arc::clone(self), requirements.clone());
        blocking(move || {
            let Contents { top, .. } = inspect(archive.path()).map_err(unfit)?;
            record.modules.retain(|module| top.contains(module));
            let _keeping = store.keeping.lock().unwrap_or_else(PoisonError::into_inner);
            store.make_room(&record)?;
            let path = store.disk.keep(&key, &record, archive).map_err(internal)?;
            Ok(store.remember(key, &record, path, &requirements))
        })
        .await?
    }

    /// Sees to it that the cache does not outgrow its size: the kubelet would end whoever uses more of its volume.
    fn make_room(&self, record: &Record) -> Result<(), ScriptError> {
        let (bytes, most) = (record.bytes, self.disk.max_bytes());
        if bytes > most {
            let detail = format!("their archive has {bytes} bytes, and the cache of packages has {most}");
            return Err(refused(FailureKind::TooLarge, detail));
        }
        let room = self.disk.make_room(&record.archive, bytes, &self.in_use());
        let Room { is_enough, dropped } = room.map_err(internal)?;
        // Whoever remembers one of these without holding it must not take it for there.
        self.state()
            .known
            .retain(|_, known| !dropped.contains(&known.layer.path));
        if is_enough {
            return Ok(());
        }
        let message = format!(
            "pip_packages: the cache of packages has no room for {bytes} bytes more: all of its {most} bytes are packages of \
             scripts that wait or run; try again in a moment"
        );
        Err(ScriptError::new(ScriptErrorCode::Overloaded, message).retryable(Some(5)))
    }

    fn remember(&self, key: Digest, record: &Record, path: PathBuf, requirements: &Requirements) -> Arc<Layer> {
        let layer = Arc::new(Layer {
            id: record.layer_id(),
            path,
            modules: record.modules.clone(),
            bytes: record.bytes,
        });
        let fresh_until = (!requirements.are_pinned()).then(|| {
            let resolved = UNIX_EPOCH + Duration::from_secs(record.resolved_at);
            // One that is old already, because the index is away, is good until the index may be asked again.
            (resolved + FRESH).max(SystemTime::now() + REFUSED)
        });
        let known = Known {
            layer: Arc::clone(&layer),
            fresh_until,
        };
        let mut state = self.state();
        // What nobody holds is checked again when it is asked for: this stays as small as what is in use.
        if state.known.len() >= MAX_KNOWN {
            state.known.retain(|_, known| Arc::strong_count(&known.layer) > 1);
        }
        state.known.insert(key, known);
        layer
    }

    fn in_use(&self) -> BTreeSet<PathBuf> {
        let state = self.state();
        let held = state.known.values().filter(|known| Arc::strong_count(&known.layer) > 1);
        held.map(|known| known.layer.path.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ScriptError> for Missed {
    fn from(error: ScriptError) -> Self {
        Self::Failed(error)
    }
}

impl From<Missed> for ScriptError {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Failed(error) => error,
            Missed::NoTurn => {
                let message = "too many packages are being installed; try again in a moment";
                Self::new(ScriptErrorCode::Overloaded, message).retryable(Some(5))
            }
        }
    }
}

fn is_fresh(record: &Record, requirements: &Requirements) -> bool {
    requirements.are_pinned() || seconds_now().saturating_sub(record.resolved_at) < FRESH.as_secs()
}

fn same_files(one: &[Locked], other: &[Locked]) -> bool {
    let files = |lock: &[Locked]| -> Vec<_> {
        lock.iter()
            .map(|locked| (locked.name.clone(), locked.version.clone(), locked.sha256))
            .collect()
    };
    files(one) == files(other)
}

/// What `import` finds of the packages that were asked for, as far as their names are what they should be.
fn modules(installed: &Installed, requirements: &Requirements) -> Vec<String> {
    let asked: BTreeSet<_> = requirements.iter().map(|one| one.name().as_str()).collect();
    let named = |locked: &&Locked| {
        locked
            .name
            .parse::<PackageName>()
            .is_ok_and(|name| asked.contains(name.as_str()))
    };
    let is_identifier = |module: &&String| {
        module.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && module
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let found = installed.lock.iter().filter(named);
    found
        .flat_map(|locked| &locked.modules)
        .filter(is_identifier)
        .cloned()
        .collect()
}

fn unfit(error: Unfit) -> ScriptError {
    let kind = match error {
        Unfit::TooLarge { .. } => FailureKind::TooLarge,
        _ => FailureKind::Unsafe,
    };
    refused(kind, error.to_string())
}

fn refused(kind: FailureKind, detail: String) -> ScriptError {
    let failure = Failure {
        kind,
        subject: String::new(),
        detail,
    };
    failure.into_error()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ScriptError> {
    spawn_blocking(work).await.map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> ScriptError {
    ScriptError::new(ScriptErrorCode::Internal, format!("the cache of packages: {error}")).retryable(Some(1))
}

fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
