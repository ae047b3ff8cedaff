//! Entries in a file of a directory that one process at a time has. Knows nothing of what mounts the directory.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use tokio::sync::Semaphore;

use crate::{Backend, Key, StoreError};

/// Name of the file.
const FILE: &str = "store.redb";
/// Memory for pages of the file: an agent reads few entries, and few of them twice.
const CACHE: usize = 2 << 20;
/// Operations that wait for the disk at the same time, each in a thread.
const PARALLEL: usize = 4;
/// How long anybody waits for one.
const DEADLINE: Duration = Duration::from_secs(5);
/// The time of an entry that stays.
const NEVER: u64 = u64::MAX;

/// Owner, kind and name → when it ends, in milliseconds of Unix time, and the value.
const ENTRIES: TableDefinition<'_, Name<'_>, (u64, &[u8])> = TableDefinition::new("entries");
/// The ends of entries that do not stay.
const ENDS: TableDefinition<'_, (u64, Name<'_>), ()> = TableDefinition::new("ends");

type Name<'a> = (&'a str, &'a str, &'a str);
type Entries = ReadOnlyTable<Name<'static>, (u64, &'static [u8])>;

/// Entries in a file. It is opened when it is used first, and again after a failure of the disk.
pub struct Volume {
    directory: PathBuf,
    database: Arc<Mutex<Option<Arc<Database>>>>,
    places: Arc<Semaphore>,
}

impl Volume {
    /// Entries in a file of `directory`, which is made when it is missing.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            database: Arc::default(),
            places: Arc::new(Semaphore::new(PARALLEL)),
        }
    }

    /// Runs `work` where it may wait for the disk. What has begun is finished, also when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (directory, slot, places) = (
            self.directory.clone(),
            Arc::clone(&self.database),
            Arc::clone(&self.places),
        );
        let work = async {
            let place = places.acquire_owned().await;
            let task = tokio::task::spawn_blocking(move || {
                let _place = place;
                let database = open(&directory, &slot)?;
                work(&database).map_err(|error| {
                    if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                        // After a failure of the disk the file takes no more orders until it is opened again.
                        slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                    }
                    failed(error)
                })
            });
            task.await
                .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
        };
        let late = |_| Err(StoreError::Unavailable("the disk did not answer in time".to_owned()));
        tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(late)
    }
}

fn open(directory: &PathBuf, slot: &Mutex<Option<Arc<Database>>>) -> Result<Arc<Database>, StoreError> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(database) = &*slot {
        return Ok(Arc::clone(database));
    }
    let path = directory.join(FILE);
    // What people said to an agent is nobody else's business.
    let opened = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(redb::Error::Io)
        .and_then(|()| Ok(Database::builder().set_cache_size(CACHE).create(&path)?));
    let database = opened.map_err(|error| match failed(error) {
        StoreError::Unavailable(reason) => StoreError::Unavailable(format!("{}: {reason}", path.display())),
        error => error,
    })?;
    Ok(Arc::clone(slot.insert(Arc::new(database))))
}

fn failed(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            StoreError::Full("the volume has no room left; enlarge spec.storage.volume.size".to_owned())
        }
        error => StoreError::Unavailable(error.to_string()),
    }
}

/// An owned [`Key`].
struct Owned(String, String, String);

impl Owned {
    fn of(key: Key<'_>) -> Self {
        Self(key.owner.to_owned(), key.kind.to_owned(), key.name.to_owned())
    }

    fn name(&self) -> Name<'_> {
        (&self.0, &self.1, &self.2)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(NEVER)
}

fn end(lifetime: Option<Duration>) -> u64 {
    let milliseconds = |lifetime: Duration| u64::try_from(lifetime.as_millis()).unwrap_or(NEVER);
    lifetime.map_or(NEVER, |lifetime| now().saturating_add(milliseconds(lifetime)))
}

/// The entries as they are now; `None` when nothing was written yet.
fn entries(database: &Database) -> Result<Option<Entries>, redb::Error> {
    match database.begin_read()?.open_table(ENTRIES) {
        Ok(entries) => Ok(Some(entries)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The live value at `name`.
fn look(
    table: &impl ReadableTable<Name<'static>, (u64, &'static [u8])>,
    name: Name<'_>,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let found = table.get(name)?;
    Ok(found.and_then(|entry| {
        let (end, value) = entry.value();
        (end > now()).then(|| value.to_vec())
    }))
}

fn write(transaction: &WriteTransaction, name: Name<'_>, value: &[u8], end: u64) -> Result<(), redb::Error> {
    remove(transaction, name)?;
    transaction.open_table(ENTRIES)?.insert(name, (end, value))?;
    if end != NEVER {
        transaction.open_table(ENDS)?.insert((end, name), ())?;
    }
    Ok(())
}

/// Removes what is at `name`. Says whether something alive was there.
fn remove(transaction: &WriteTransaction, name: Name<'_>) -> Result<bool, redb::Error> {
    let mut entries = transaction.open_table(ENTRIES)?;
    let Some(end) = entries.remove(name)?.map(|entry| entry.value().0) else {
        return Ok(false);
    };
    if end != NEVER {
        transaction.open_table(ENDS)?.remove((end, name))?;
    }
    Ok(end > now())
}

#[async_trait]
impl Backend for Volume {
    async fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let key = Owned::of(key);
        self.run(move |database| match entries(database)? {
            Some(entries) => look(&entries, key.name()),
            None => Ok(None),
        })
        .await
    }

    async fn get_many(&self, owner: &str, kind: &str, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let keys = names.iter().map(|name| Owned::of(Key { owner, kind, name }));
        let keys: Vec<_> = keys.collect();
        self.run(move |database| {
            let Some(entries) = entries(database)? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for key in keys {
                if let Some(value) = look(&entries, key.name())? {
                    found.push((key.2, value));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn put(&self, key: Key<'_>, value: &[u8], lifetime: Option<Duration>) -> Result<(), StoreError> {
        let (key, value) = (Owned::of(key), value.to_vec());
        self.run(move |database| {
            let transaction = database.begin_write()?;
            write(&transaction, key.name(), &value, end(lifetime))?;
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn swap(
        &self,
        key: Key<'_>,
        expected: Option<&[u8]>,
        value: &[u8],
        lifetime: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let (key, value) = (Owned::of(key), value.to_vec());
        let expected = expected.map(<[u8]>::to_vec);
        self.run(move |database| {
            let transaction = database.begin_write()?;
            let present = look(&transaction.open_table(ENTRIES)?, key.name())?;
            if present != expected {
                transaction.abort()?;
                return Ok(false);
            }
            write(&transaction, key.name(), &value, end(lifetime))?;
            transaction.commit()?;
            Ok(true)
        })
        .await
    }

    async fn delete(&self, key: Key<'_>) -> Result<bool, StoreError> {
        let key = Owned::of(key);
        self.run(move |database| {
            let transaction = database.begin_write()?;
            let was_there = remove(&transaction, key.name())?;
            transaction.commit()?;
            Ok(was_there)
        })
        .await
    }

    async fn list(&self, prefix: Key<'_>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let prefix = Owned::of(prefix);
        self.run(move |database| {
            let Some(entries) = entries(database)? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for entry in entries.range(prefix.name()..)? {
                let (name, entry) = entry?;
                let ((owner, kind, name), (end, value)) = (name.value(), entry.value());
                let begins = owner == prefix.0 && kind == prefix.1 && name.starts_with(&prefix.2);
                if !begins || found.len() == limit {
                    break;
                }
                if end > now() {
                    found.push((name.to_owned(), value.to_vec()));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let mut swept = 0;
            {
                let mut ends = transaction.open_table(ENDS)?;
                let mut entries = transaction.open_table(ENTRIES)?;
                for over in ends.extract_from_if(..(now().saturating_add(1), ("", "", "")), |_, ()| true)? {
                    let (over, _) = over?;
                    entries.remove(over.value().1)?;
                    swept += 1;
                }
            }
            transaction.commit()?;
            Ok(swept)
        })
        .await
    }
}
