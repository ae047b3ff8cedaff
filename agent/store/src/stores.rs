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
/// An agent that replaces another of its name finds what that one kept, also in memory, as long as either is there.
#[derive(Clone, Default)]
pub struct Stores(Arc<Mutex<HashMap<Place, Weak<Inner>>>>);

/// Where a store is, and of which agent.
type Place = (StorageConfig, String);

/// What one agent keeps. Clones are the same; what runs for it ends with the last.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    owner: Arc<str>,
    failing: Arc<AtomicBool>,
    _sweeper: AbortOnDropHandle<()>,
}

impl Stores {
    /// The store of the agent `name`. Nothing is opened before it is used. Wants a tokio runtime.
    pub fn open(&self, config: &StorageConfig, name: &str) -> Store {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, store| store.strong_count() > 0);
        let place = (config.clone(), name.to_owned());
        if let Some(inner) = places.get(&place).and_then(Weak::upgrade) {
            return Store(inner);
        }
        let store = Store::new(backend(config), owner(config, name));
        places.insert(place, Arc::downgrade(&store.0));
        store
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
            owner: _,
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
        StorageConfig::Postgres { owner, .. } => owner.clone(),
    }
}

impl Store {
    /// The entries of `owner` in `backend`. Wants a tokio runtime.
    pub fn new(backend: Arc<dyn Backend>, owner: String) -> Self {
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&backend)));
        Self(Arc::new(Inner {
            backend,
            owner: owner.into(),
            failing: Arc::default(),
            _sweeper: AbortOnDropHandle::new(sweeper),
        }))
    }

    /// The entries of one kind.
    pub fn space(&self, kind: &'static str) -> Space {
        let Inner {
            backend,
            owner,
            failing,
            ..
        } = &*self.0;
        Space::new(Arc::clone(backend), Arc::clone(owner), kind, Arc::clone(failing))
    }

    /// Whether it could not be used when it was used last.
    pub fn is_failing(&self) -> bool {
        self.0.failing.load(Ordering::Relaxed)
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
