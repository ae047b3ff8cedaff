//! Entries in memory. What has a lifetime makes room for what comes later; what is to stay does not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{Backend, Key, StoreError};

/// What all entries together may occupy, unless told otherwise.
const CAPACITY: usize = 16 << 20;

/// Entries in the memory of the process, which end with it.
pub struct Ephemeral {
    capacity: usize,
    state: Mutex<State>,
}

/// Owner, kind and name.
type Name = (String, String, String);

#[derive(Default)]
struct State {
    entries: BTreeMap<Name, Entry>,
    /// Entries with a lifetime, those that were written first in front.
    by_age: BTreeMap<u64, Name>,
    written: u64,
    bytes: usize,
    /// Those of the bytes that are to stay.
    lasting: usize,
}

struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
    age: u64,
}

impl Default for Ephemeral {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Ephemeral {
    /// Entries that may occupy `capacity` bytes together.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    fn write(
        &self,
        state: &mut State,
        key: Key<'_>,
        value: &[u8],
        lifetime: Option<Duration>,
    ) -> Result<(), StoreError> {
        let name = name(key);
        let bytes = size(&name, value);
        let replaced = state.entries.get(&name).filter(|old| old.expires.is_none());
        let stays = state.lasting - replaced.map_or(0, |old| size(&name, &old.value));
        if stays + bytes > self.capacity {
            let message = format!(
                "agents without storage keep at most {} bytes in memory together",
                self.capacity
            );
            return Err(StoreError::Full(message));
        }
        state.remove(&name);
        while state.bytes + bytes > self.capacity {
            let Some((_, oldest)) = state.by_age.first_key_value() else {
                break;
            };
            let oldest = oldest.clone();
            state.remove(&oldest);
        }
        state.insert(name, value.to_vec(), lifetime.map(|lifetime| Instant::now() + lifetime));
        Ok(())
    }

    /// Nothing that can panic runs under the lock, so a poisoned state is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, key: Key<'_>) -> Option<&Entry> {
        self.entries.get(&name(key)).filter(|entry| entry.lives())
    }

    fn insert(&mut self, name: Name, value: Vec<u8>, expires: Option<Instant>) {
        let bytes = size(&name, &value);
        self.bytes += bytes;
        self.written += 1;
        let age = self.written;
        match expires {
            Some(_) => drop(self.by_age.insert(age, name.clone())),
            None => self.lasting += bytes,
        }
        self.entries.insert(name, Entry { value, expires, age });
    }

    fn remove(&mut self, name: &Name) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        let bytes = size(name, &entry.value);
        self.bytes -= bytes;
        if self.by_age.remove(&entry.age).is_none() {
            self.lasting -= bytes;
        }
        Some(entry)
    }
}

impl Entry {
    fn lives(&self) -> bool {
        self.expires.is_none_or(|expires| expires > Instant::now())
    }
}

fn name(key: Key<'_>) -> Name {
    (key.owner.to_owned(), key.kind.to_owned(), key.name.to_owned())
}

fn size((owner, kind, name): &Name, value: &[u8]) -> usize {
    owner.len() + kind.len() + name.len() + value.len()
}

#[async_trait]
impl Backend for Ephemeral {
    async fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().get(key).map(|entry| entry.value.clone()))
    }

    async fn get_many(&self, owner: &str, kind: &str, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let state = self.lock();
        let entry = |name: &&str| {
            let entry = state.get(Key { owner, kind, name })?;
            Some(((*name).to_owned(), entry.value.clone()))
        };
        Ok(names.iter().filter_map(entry).collect())
    }

    async fn put(&self, key: Key<'_>, value: &[u8], lifetime: Option<Duration>) -> Result<(), StoreError> {
        self.write(&mut self.lock(), key, value, lifetime)
    }

    async fn swap(
        &self,
        key: Key<'_>,
        expected: Option<&[u8]>,
        value: &[u8],
        lifetime: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        if state.get(key).map(|entry| entry.value.as_slice()) != expected {
            return Ok(false);
        }
        self.write(&mut state, key, value, lifetime).map(|()| true)
    }

    async fn delete(&self, key: Key<'_>) -> Result<bool, StoreError> {
        let removed = self.lock().remove(&name(key));
        Ok(removed.is_some_and(|entry| entry.lives()))
    }

    async fn list(&self, prefix: Key<'_>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let state = self.lock();
        let first = name(prefix);
        let begins = |name: &Name| name.0 == prefix.owner && name.1 == prefix.kind && name.2.starts_with(prefix.name);
        Ok(state
            .entries
            .range(&first..)
            .take_while(|(name, _)| begins(name))
            .filter(|(_, entry)| entry.lives())
            .take(limit)
            .map(|(name, entry)| (name.2.clone(), entry.value.clone()))
            .collect())
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let over = |name: &&Name| state.entries.get(*name).is_some_and(|entry| !entry.lives());
        let over: Vec<_> = state.by_age.values().filter(over).cloned().collect();
        for name in &over {
            state.remove(name);
        }
        Ok(over.len() as u64)
    }
}
