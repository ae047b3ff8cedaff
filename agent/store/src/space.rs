//! The entries of one kind of one agent, as JSON.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Backend, Key, MAX_ENTRY, StoreError};

/// How often a counter is tried again that others count at the same time.
const ATTEMPTS: u32 = 32;
/// Longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The entries of one kind of one agent. Clones are the same entries.
#[derive(Clone)]
pub struct Space {
    backend: Arc<dyn Backend>,
    owner: Arc<str>,
    kind: &'static str,
    /// Whether the backend could not be used when it was used last.
    failing: Arc<AtomicBool>,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    name: String,
    json: Vec<u8>,
}

impl Entry {
    /// What is kept, as JSON.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// What it means.
    ///
    /// # Errors
    /// When it is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        read(&self.name, &self.json)
    }
}

impl Space {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        owner: Arc<str>,
        kind: &'static str,
        failing: Arc<AtomicBool>,
    ) -> Self {
        Self {
            backend,
            owner,
            kind,
            failing,
        }
    }

    /// The entry `name`.
    ///
    /// # Errors
    /// When the backend cannot be used, or the entry is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let found = self.find(name).await?;
        found.map(|entry| entry.read()).transpose()
    }

    /// The entry `name`, for a reader who looks at its size before it is read.
    ///
    /// # Errors
    /// When the backend cannot be used.
    pub async fn find(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        let Some(key) = self.key(name) else {
            return Ok(None);
        };
        let json = self.note(self.backend.get(key).await)?;
        let name = name.to_owned();
        Ok(json.map(|json| Entry { name, json }))
    }

    /// Those entries that have one of `names`, in any order, each read by itself: one that is no `T` is an error of its own.
    ///
    /// # Errors
    /// When the backend cannot be used.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        names: impl IntoIterator<Item = &str>,
    ) -> Result<Vec<(String, Result<T, StoreError>)>, StoreError> {
        let names: BTreeSet<_> = names.into_iter().filter(|name| self.key(name).is_some()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let found = self.note(self.backend.get_many(&self.owner, self.kind, &names).await)?;
        let read = |(name, bytes): (String, Vec<u8>)| {
            let value = read(&name, &bytes);
            (name, value)
        };
        Ok(found.into_iter().map(read).collect())
    }

    /// Keeps `value` as `name`, in place of what is there, for as long as `lifetime` or for good.
    ///
    /// # Errors
    /// When it is too large, when there is no room, or the backend cannot be used.
    pub async fn put<T: Serialize>(&self, name: &str, value: &T, lifetime: Option<Duration>) -> Result<(), StoreError> {
        let (key, bytes) = (self.key(name).ok_or_else(|| no_key(name))?, write(name, value)?);
        self.note(self.backend.put(key, &bytes, lifetime).await)
    }

    /// Keeps `value` as `name` unless there is one. Says whether there was none.
    ///
    /// # Errors
    /// When it is too large, when there is no room, or the backend cannot be used.
    pub async fn put_if_absent<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        lifetime: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let (key, bytes) = (self.key(name).ok_or_else(|| no_key(name))?, write(name, value)?);
        self.note(self.backend.swap(key, None, &bytes, lifetime).await)
    }

    /// Adds `amount` to the counter `name` and returns the sum. What others add at the same time is in it, too.
    ///
    /// # Errors
    /// When there is no room, the backend cannot be used, or the entry is no counter.
    pub async fn add(&self, name: &str, amount: u64, lifetime: Option<Duration>) -> Result<u64, StoreError> {
        let key = self.key(name).ok_or_else(|| no_key(name))?;
        for _ in 0..ATTEMPTS {
            let present = self.note(self.backend.get(key).await)?;
            let before: u64 = present.as_deref().map_or(Ok(0), |bytes| read(name, bytes))?;
            let after = before.saturating_add(amount);
            let bytes = write(name, &after)?;
            if self.note(self.backend.swap(key, present.as_deref(), &bytes, lifetime).await)? {
                return Ok(after);
            }
            let pause = rand::rng().random_range(Duration::ZERO..PAUSE);
            tokio::time::sleep(pause).await;
        }
        Err(StoreError::Contended(name.to_owned()))
    }

    /// Forgets the entry `name`. Says whether there was one.
    ///
    /// # Errors
    /// When the backend cannot be used.
    pub async fn delete(&self, name: &str) -> Result<bool, StoreError> {
        match self.key(name) {
            Some(key) => self.note(self.backend.delete(key).await),
            None => Ok(false),
        }
    }

    /// The entries whose names begin with `prefix`, in the order of their names, at most `limit`.
    ///
    /// # Errors
    /// When the backend cannot be used, or an entry is no `T`.
    pub async fn list<T: DeserializeOwned>(&self, prefix: &str, limit: usize) -> Result<Vec<(String, T)>, StoreError> {
        let Some(prefix) = self.key(prefix) else {
            return Ok(Vec::new());
        };
        let found = self.note(self.backend.list(prefix, limit).await)?;
        let read = |(name, bytes): (String, Vec<u8>)| read(&name, &bytes).map(|value| (name, value));
        found.into_iter().map(read).collect()
    }

    /// `None` for a name that nothing can have.
    fn key<'a>(&'a self, name: &'a str) -> Option<Key<'a>> {
        let key = Key {
            owner: &self.owner,
            kind: self.kind,
            name,
        };
        (!name.contains('\0')).then_some(key)
    }

    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let fails = !matches!(result, Ok(_) | Err(StoreError::Refused(_)));
        self.failing.store(fails, Ordering::Relaxed);
        result
    }
}

fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(name, &error))
}

fn write<T: Serialize>(name: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| unreadable(name, &error))?;
    if bytes.len() > MAX_ENTRY {
        return Err(StoreError::TooLarge {
            bytes: bytes.len(),
            most: MAX_ENTRY,
        });
    }
    Ok(bytes)
}

fn no_key(name: &str) -> StoreError {
    StoreError::Refused(format!("the name {name:?} holds NUL"))
}

fn unreadable(name: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Unreadable {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}
