//! The stores of a process: agents that keep their things in the same place share what leads there.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use rockbot_agent_config::StorageConfig;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::{Backend, Ephemeral, Postgres, PostgresSettings, Space, Volume};

/// How often what has outlived its lifetime is swept, on average.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);

/// The stores of a process. Clones are the same.
///
/// Agents that keep their things in the same place share what leads there, such as the connection to a database, and
/// nothing else. An agent that replaces another of its name finds what that one kept, also in memory, as long as any agent
/// of the place is there.
#[derive(Clone, Default)]
pub struct Stores(Arc<Mutex<HashMap<StorageConfig, Weak<Place>>>>);

/// What one agent keeps. Clones are the same.
#[derive(Clone)]
pub struct Store {
    place: Arc<Place>,
    owner: Arc<str>,
}

/// Where things are kept. What runs for it ends with the last agent that keeps something there.
struct Place {
    backend: Arc<dyn Backend>,
    failing: Arc<AtomicBool>,
    _sweeper: AbortOnDropHandle<()>,
}

impl Stores {
    /// The store of the agent `name`. Nothing is opened before it is used. Wants a tokio runtime.
    pub fn open(&self, config: &StorageConfig, name: &str) -> Store {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| place.strong_count() > 0);
        let place = places.get(config).and_then(Weak::upgrade).unwrap_or_else(|| {
            let place = Arc::new(Place::of(backend(config)));
            places.insert(config.clone(), Arc::downgrade(&place));
            place
        });
        let owner = owner(config, name).into();
        Store { place, owner }
    }
}

fn backend(config: &StorageConfig) -> Arc<dyn Backend> {
    match config.clone() {
        StorageConfig::Ephemeral => Arc::new(Ephemeral::default()),
        StorageConfig::Volume { directory } => Arc::new(Volume::new(directory)),
        StorageConfig::Postgres {
            url_file,
            ca_file,
            host,
            port,
            namespace: _,
        } => Arc::new(Postgres::new(PostgresSettings {
            url_file,
            ca_file,
            host,
            port,
        })),
    }
}

fn owner(config: &StorageConfig, name: &str) -> String {
    match config {
        StorageConfig::Ephemeral | StorageConfig::Volume { .. } => name.to_owned(),
        StorageConfig::Postgres { namespace, .. } => format!("{namespace}/{name}"),
    }
}

impl Place {
    fn of(backend: Arc<dyn Backend>) -> Self {
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&backend)));
        Self {
            backend,
            failing: Arc::default(),
            _sweeper: AbortOnDropHandle::new(sweeper),
        }
    }
}

impl Store {
    /// The entries of `owner` in `backend`. Wants a tokio runtime.
    pub fn new(backend: Arc<dyn Backend>, owner: String) -> Self {
        Self {
            place: Arc::new(Place::of(backend)),
            owner: owner.into(),
        }
    }

    /// The entries of one kind.
    pub fn space(&self, kind: &'static str) -> Space {
        let Place { backend, failing, .. } = &*self.place;
        Space::new(Arc::clone(backend), Arc::clone(&self.owner), kind, Arc::clone(failing))
    }

    /// Whether the place could not be used when it was used last.
    pub fn is_failing(&self) -> bool {
        self.place.failing.load(Ordering::Relaxed)
    }
}

/// Agents of one database do not sweep it all at once.
async fn sweep(backend: Weak<dyn Backend>) {
    loop {
        let pause = rand::rng().random_range(SWEEP_EVERY / 2..SWEEP_EVERY * 3 / 2);
        tokio::time::sleep(pause).await;
        let Some(backend) = backend.upgrade() else {
            return;
        };
        match backend.sweep().await {
            Ok(entries) => debug!(entries, "swept what has outlived its lifetime"),
            Err(error) => warn!("what has outlived its lifetime stays for now: {error}"),
        }
    }
}
