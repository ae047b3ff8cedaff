//! The cache on disk: archives under their own digest, and a record for each set of requirements.
//!
//! Files appear whole, by renaming. Several processes may share a directory: nothing here trusts what it finds, and what is
//! gone or damaged is made again. The times of archives say when each was used last.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::{Digest, LayerId, Locked};

/// Most records. One is a few kilobytes; its archive may be gone long before it.
const MAX_RECORDS: usize = 1000;
/// What lies about for so long belongs to nobody any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What some requirements turned out to be, and which archive holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The requirements, for whoever reads the file.
    pub requirements: String,
    /// What the packages fit.
    pub environment: String,
    /// ABI of the interpreter.
    pub abi: String,
    /// Seconds since the epoch.
    pub resolved_at: u64,
    /// Every package.
    pub lock: Vec<Locked>,
    /// What `import` finds of those that were asked for.
    pub modules: Vec<String>,
    /// Digest of the archive, and its name.
    pub archive: Digest,
    /// Bytes of the archive.
    pub bytes: u64,
}

/// A cache directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    archives: PathBuf,
    records: PathBuf,
    unfinished: PathBuf,
    max_bytes: u64,
}

/// What became of making room.
#[derive(Debug)]
pub(crate) struct Room {
    pub is_enough: bool,
    pub dropped: BTreeSet<PathBuf>,
}

impl Record {
    pub(crate) fn layer_id(&self) -> LayerId {
        LayerId::new(&self.lock, &self.abi, &self.environment)
    }
}

/// Blocks, all of it.
impl Disk {
    /// Opens a cache, and removes what an earlier process left unfinished.
    pub(crate) fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        let disk = Self {
            archives: directory.join("archives"),
            records: directory.join("records"),
            unfinished: directory.join("unfinished"),
            max_bytes,
        };
        for folder in [&disk.archives, &disk.records, &disk.unfinished] {
            fs::create_dir_all(folder)?;
        }
        for file in files(&disk.unfinished)? {
            if file.used.elapsed().is_ok_and(|age| age > ABANDONED) {
                remove(&file.path);
            }
        }
        Ok(disk)
    }

    /// A file that is gone unless it is kept.
    pub(crate) fn unfinished(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.unfinished)
    }

    /// The record of some requirements, if there is a readable one.
    pub(crate) fn record(&self, key: &Digest) -> Option<Record> {
        let path = self.record_path(key);
        let text = fs::read(&path).ok()?;
        let record = serde_json::from_slice(&text);
        if let Err(error) = &record {
            tracing::warn!(path = %path.display(), %error, "dropping a damaged record of packages");
            remove(&path);
        }
        record.ok()
    }

    /// Where the archive of a record is, if it is there and whole.
    pub(crate) fn verified(&self, record: &Record) -> Option<PathBuf> {
        let path = self.archive_path(&record.archive);
        let digest = digest_of(&path).ok()?;
        if digest == record.archive {
            return Some(path);
        }
        tracing::warn!(path = %path.display(), "dropping a damaged layer of packages");
        remove(&path);
        None
    }

    /// Keeps an archive, then its record.
    pub(crate) fn keep(&self, key: &Digest, record: &Record, archive: NamedTempFile) -> io::Result<PathBuf> {
        archive.as_file().sync_all()?;
        let path = self.archive_path(&record.archive);
        archive.persist(&path)?;
        self.keep_record(key, record)?;
        Ok(path)
    }

    fn keep_record(&self, key: &Digest, record: &Record) -> io::Result<()> {
        let file = self.unfinished()?;
        serde_json::to_writer(file.as_file(), record)?;
        file.as_file().sync_all()?;
        file.persist(self.record_path(key))?;
        Ok(())
    }

    /// Notes that an archive is used now. False when it is not there as it was.
    pub(crate) fn touch(&self, path: &Path, bytes: u64) -> bool {
        let touched = File::open(path).and_then(|file| {
            file.set_modified(SystemTime::now())?;
            file.metadata()
        });
        touched.is_ok_and(|found| found.len() == bytes)
    }

    /// Removes what was not used for longest until there is room for an archive of so many bytes, but nothing that `in_use`
    /// names. Says what is gone, and whether there is room.
    pub(crate) fn make_room(&self, archive: &Digest, bytes: u64, in_use: &BTreeSet<PathBuf>) -> io::Result<Room> {
        let mut archives = files(&self.archives)?;
        // The same one may be there: it is replaced.
        archives.retain(|file| file.path != self.archive_path(archive));
        archives.sort_by_key(|file| file.used);
        let mut total = bytes + archives.iter().map(|file| file.bytes).sum::<u64>();
        let mut dropped = BTreeSet::new();
        for file in archives.into_iter().filter(|file| !in_use.contains(&file.path)) {
            if total <= self.max_bytes {
                break;
            }
            tracing::info!(path = %file.path.display(), bytes = file.bytes, "dropping a layer of packages to make room");
            remove(&file.path);
            total -= file.bytes;
            dropped.insert(file.path);
        }
        let mut records = files(&self.records)?;
        records.sort_by_key(|file| file.used);
        let surplus = records.len().saturating_sub(MAX_RECORDS);
        records.iter().take(surplus).for_each(|file| remove(&file.path));
        Ok(Room {
            is_enough: total <= self.max_bytes,
            dropped,
        })
    }

    /// Most bytes of archives.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    fn archive_path(&self, digest: &Digest) -> PathBuf {
        self.archives.join(format!("{digest}.tar.gz"))
    }

    fn record_path(&self, key: &Digest) -> PathBuf {
        self.records.join(format!("{key}.json"))
    }
}

struct Found {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn files(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another process may remove it at this moment.
        if let Ok(metadata) = entry.metadata() {
            found.push(Found {
                path: entry.path(),
                bytes: metadata.len(),
                used: metadata.modified()?,
            });
        }
    }
    Ok(found)
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Digest::finish(hasher))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of the package cache");
    }
}
