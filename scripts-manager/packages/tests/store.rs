//! T16: the store beside an installer that makes archives without an index: what is asked of it, and what is kept.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use flate2::{Compression, write::GzEncoder};
use rockbot_scripts_api::{Allow, Requirements, ScriptError, ScriptErrorCode};
use rockbot_scripts_packages::{
    Digest, Failure, FailureKind, Installed, Installer, LayerStore, Locked, StoreSettings, Wanted,
};
use serde_json::Value;
use tar::{Builder, Header};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};

/// An index in memory: every package has one module of its name, and as many bytes as its version says. One is never there.
#[derive(Clone, Default)]
struct Index {
    orders: Arc<Mutex<Vec<String>>>,
    down: Arc<AtomicBool>,
    slow: Arc<AtomicBool>,
}

impl Index {
    fn orders(&self) -> Vec<String> {
        std::mem::take(&mut self.orders.lock().unwrap())
    }
}

#[async_trait]
impl Installer for Index {
    fn environment(&self) -> &str {
        "python:3.12 http://index"
    }

    async fn install(&self, wanted: Wanted<'_>, archive: &mut tokio::fs::File) -> Result<Installed, ScriptError> {
        let (order, names) = match wanted {
            Wanted::Requirements(requirements) => (
                requirements.to_string(),
                requirements.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ),
            Wanted::Lock(lock) => (
                format!(
                    "lock of {}",
                    lock.iter().map(|one| one.name.clone()).collect::<String>()
                ),
                lock.iter()
                    .map(|one| format!("{}=={}", one.name, one.version))
                    .collect(),
            ),
        };
        self.orders.lock().unwrap().push(order);
        if self.slow.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50)).await;
        }
        let failure = |kind, subject: &str| {
            let (subject, detail) = (subject.to_owned(), "refused".to_owned());
            Err(Failure { kind, subject, detail }.into_error())
        };
        if self.down.load(Ordering::Relaxed) {
            return failure(FailureKind::Index, "");
        }
        let mut lock = Vec::new();
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
        for name in names {
            let (name, version) = name.split_once("==").unwrap_or((&name, "1000"));
            if name == "unknown" {
                return failure(FailureKind::Unknown, name);
            }
            if name == "stuck" {
                std::future::pending::<()>().await;
            }
            let content = vec![b'#'; version.parse().unwrap()];
            let mut header = Header::new_ustar();
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, format!("{name}/__init__.py"), &content[..])
                .unwrap();
            if name == "linked" {
                let mut header = Header::new_ustar();
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, "linked/link", "/etc").unwrap();
            }
            lock.push(Locked {
                name: name.to_owned(),
                version: version.to_owned(),
                sha256: Digest::of(name.as_bytes()),
                modules: vec![name.to_owned(), "not_there".into(), "no-module".into()],
            });
        }
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        archive.write_all(&bytes).await.unwrap();
        Ok(Installed {
            lock,
            abi: "cp312".into(),
            sha256: Digest::of(&bytes),
            bytes: bytes.len() as u64,
        })
    }
}

struct Fixture {
    index: Index,
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            index: Index::default(),
            directory: TempDir::new().unwrap(),
        }
    }

    fn store(&self) -> LayerStore {
        self.limited(1 << 20)
    }

    fn limited(&self, max_bytes: u64) -> LayerStore {
        let settings = StoreSettings {
            directory: self.directory.path().to_owned(),
            max_bytes,
            allow: Allow::Any,
        };
        LayerStore::open(settings, self.index.clone()).unwrap()
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// As if the only record were this old.
    fn age_record(&self, seconds: u64) {
        let path = self.files("records").remove(0);
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["resolved_at"] = (record["resolved_at"].as_u64().unwrap() - seconds).into();
        fs::write(path, record.to_string()).unwrap();
    }
}

fn wanted(text: &str) -> Requirements {
    let entries: Vec<_> = text.split(' ').map(str::to_owned).collect();
    Requirements::parse(&entries).unwrap()
}

/// As if `path` were used last so long ago.
fn age(path: &Path, seconds: u64) {
    let file = fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

#[tokio::test]
async fn t16_a_layer_is_made_once_and_served_from_the_cache_after_that() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let first = store.layer(&wanted("b a==7"), "a").await.unwrap();
    let again = store.layer(&wanted("a==7 B"), "a").await.unwrap();
    assert_eq!((first.id, &first.path), (again.id, &again.path));
    assert_eq!(first.bytes, fs::metadata(&first.path).unwrap().len());
    assert_eq!(
        first.modules,
        ["a", "b"],
        "what is in the archive, under names that Python has"
    );
    // A process that starts later finds it.
    assert_eq!(
        fixture.store().layer(&wanted("a==7 b"), "a").await.unwrap().id,
        first.id
    );
    assert_eq!(fixture.index.orders(), ["a==7, b"]);
    // The same lock from other requirements is the same layer; another lock is not.
    assert_eq!(store.layer(&wanted("a==7 b==1000"), "a").await.unwrap().id, first.id);
    assert_ne!(store.layer(&wanted("a==8 b"), "a").await.unwrap().id, first.id);
    assert_eq!(fixture.files("unfinished").len(), 0);
}

#[tokio::test]
async fn t16_many_who_ask_at_once_have_it_made_once() {
    let fixture = Fixture::new();
    fixture.index.slow.store(true, Ordering::Relaxed);
    let store = fixture.store();
    let requirements = wanted("a b");
    let answers = futures::future::join_all((0..20).map(|_| store.layer(&requirements, "a"))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(fixture.index.orders(), ["a, b"]);
    // Who made it start goes away: it is made all the same, for the next one.
    let other = wanted("c");
    tokio::select! {
        biased;
        _ = store.layer(&other, "a") => unreachable!("it takes longer"),
        () = sleep(Duration::from_millis(5)) => {}
    }
    store.layer(&other, "a").await.unwrap();
    assert_eq!(fixture.index.orders(), ["c"]);
}

#[tokio::test]
async fn t16_no_caller_has_every_installer() {
    let fixture = Fixture::new();
    let store = fixture.store();
    for version in ["stuck==1", "stuck==2"] {
        let store = store.clone();
        tokio::spawn(async move { store.layer(&wanted(version), "a").await });
    }
    // Time for both to begin, if they could.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(fixture.index.orders().len(), 1);
    store.layer(&wanted("b"), "b").await.unwrap();
}

/// So many installations of `caller` that never end, or wait behind one.
async fn stuck(fixture: &Fixture, store: &LayerStore, caller: &'static str, count: usize) {
    for number in 0..count {
        let (store, set) = (store.clone(), wanted(&format!("stuck=={number} of-{caller}")));
        tokio::spawn(async move { store.layer(&set, caller).await });
    }
    // They look on the disk first.
    while fixture.index.orders().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn t18_few_installations_of_a_caller_wait_and_the_next_is_refused_at_once() {
    let fixture = Fixture::new();
    let store = fixture.store();
    stuck(&fixture, &store, "a", 5).await;
    let set = wanted("b");
    let refused = timeout(Duration::from_secs(5), store.layer(&set, "a")).await;
    let error = refused.expect("nobody waits for it").unwrap_err();
    assert!(error.code == ScriptErrorCode::Overloaded && error.retryable, "{error}");
    store.layer(&set, "b").await.unwrap();
    // Whoever joined it is not who has too many.
    let (set, other) = (wanted("c"), store.clone());
    let (refused, joined) = tokio::join!(store.layer(&set, "a"), other.layer(&set, "b"));
    assert_eq!(refused.unwrap_err().code, ScriptErrorCode::Overloaded);
    joined.unwrap();
}

#[tokio::test]
async fn t18_installations_that_wait_are_bounded_in_all() {
    let fixture = Fixture::new();
    let store = fixture.store();
    for caller in ["a", "b"] {
        stuck(&fixture, &store, caller, 1).await;
    }
    let wait = |number: usize| {
        let store = store.clone();
        async move { store.layer(&wanted(&format!("w=={number}")), &number.to_string()).await }
    };
    let waiting: Vec<_> = (0..64).map(|number| tokio::spawn(wait(number))).collect();
    sleep(Duration::from_millis(500)).await;
    let refused = timeout(Duration::from_secs(5), wait(64))
        .await
        .expect("nobody waits for it");
    assert_eq!(refused.unwrap_err().code, ScriptErrorCode::Overloaded);
    assert!(waiting.iter().all(|task| !task.is_finished()));
}

#[tokio::test]
async fn t16_a_refusal_is_repeated_for_a_moment_and_a_lost_index_is_asked_again() {
    let fixture = Fixture::new();
    let store = fixture.store();
    for _ in 0..3 {
        let error = store.layer(&wanted("unknown"), "a").await.unwrap_err();
        assert_eq!(error.code, ScriptErrorCode::PackagesRefused);
        assert!(!error.retryable);
        assert!(error.message.contains("the index has no package unknown"), "{error}");
    }
    assert_eq!(fixture.index.orders(), ["unknown"]);
    fixture.index.down.store(true, Ordering::Relaxed);
    let error = store.layer(&wanted("a"), "a").await.unwrap_err();
    assert_eq!(error.code, ScriptErrorCode::PackageIndexUnavailable);
    assert!(error.retryable);
    fixture.index.down.store(false, Ordering::Relaxed);
    store.layer(&wanted("a"), "a").await.unwrap();
    assert_eq!(fixture.index.orders(), ["a", "a"]);
}

#[tokio::test]
async fn t16_what_is_damaged_or_gone_is_made_again_from_its_lock() {
    let fixture = Fixture::new();
    let layer = fixture.store().layer(&wanted("a"), "a").await.unwrap();
    fixture.index.orders();
    // One byte is another: found by a process that did not make it.
    let mut bytes = fs::read(&layer.path).unwrap();
    bytes[20] ^= 1;
    fs::write(&layer.path, &bytes).unwrap();
    let store = fixture.store();
    assert_eq!(*store.layer(&wanted("a"), "a").await.unwrap(), *layer);
    assert_eq!(fixture.index.orders(), ["lock of a"]);
    // Gone while the process runs.
    fs::remove_file(&layer.path).unwrap();
    assert_eq!(*store.layer(&wanted("a"), "a").await.unwrap(), *layer);
    assert_eq!(fixture.index.orders(), ["lock of a"]);
    // A record that does not parse.
    fs::write(fixture.files("records").remove(0), "{").unwrap();
    assert_eq!(*fixture.store().layer(&wanted("a"), "a").await.unwrap(), *layer);
    assert_eq!(fixture.index.orders(), ["a"]);
}

#[tokio::test]
async fn t16_open_versions_are_resolved_again_after_hours_and_old_ones_serve_while_the_index_is_away() {
    let fixture = Fixture::new();
    fixture.store().layer(&wanted("a"), "a").await.unwrap();
    fixture.age_record(5 * 3600);
    fixture.store().layer(&wanted("a"), "a").await.unwrap();
    assert_eq!(fixture.index.orders(), ["a"]);
    fixture.age_record(2 * 3600);
    fixture.index.down.store(true, Ordering::Relaxed);
    fixture.store().layer(&wanted("a"), "a").await.unwrap();
    fixture.index.down.store(false, Ordering::Relaxed);
    fixture.store().layer(&wanted("a"), "a").await.unwrap();
    fixture.store().layer(&wanted("a"), "a").await.unwrap();
    assert_eq!(fixture.index.orders(), ["a", "a"], "once in vain, once not");
    // What names its version stays what it is.
    let pinned = Fixture::new();
    pinned.store().layer(&wanted("a==3"), "a").await.unwrap();
    pinned.age_record(1000 * 3600);
    pinned.store().layer(&wanted("a==3"), "a").await.unwrap();
    assert_eq!(pinned.index.orders(), ["a==3"]);
}

#[tokio::test]
async fn t16_the_cache_is_bounded_and_forgets_what_was_not_used_for_longest() {
    let fixture = Fixture::new();
    let store = fixture.limited(100_000);
    let paths = [
        store.layer(&wanted("a==40000"), "a").await.unwrap().path.clone(),
        store.layer(&wanted("b==40000"), "a").await.unwrap().path.clone(),
    ];
    age(&paths[0], 20);
    age(&paths[1], 10);
    // Used now, so not the oldest any more.
    store.layer(&wanted("a==40000"), "a").await.unwrap();
    let held = store.layer(&wanted("c==40000"), "a").await.unwrap();
    assert_eq!(paths.each_ref().map(|path| path.exists()), [true, false]);
    // What somebody holds stays, though it is the oldest.
    age(&held.path, 100);
    store.layer(&wanted("d==40000"), "a").await.unwrap();
    assert!(held.path.exists());
    assert!(!paths[0].exists());
    // What was forgotten comes back from its lock.
    fixture.index.orders();
    store.layer(&wanted("b==40000"), "a").await.unwrap();
    assert_eq!(fixture.index.orders(), ["lock of b"]);
}

#[tokio::test]
async fn t18_the_cache_is_never_larger_than_it_may_be_even_when_all_of_it_is_in_use() {
    let fixture = Fixture::new();
    let store = fixture.limited(100_000);
    let size = || -> u64 {
        let archives = fixture.files("archives");
        archives.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    let held = [
        store.layer(&wanted("a==40000"), "a").await.unwrap(),
        store.layer(&wanted("b==40000"), "a").await.unwrap(),
    ];
    let error = store.layer(&wanted("c==40000"), "a").await.unwrap_err();
    assert!(
        error.code == ScriptErrorCode::Overloaded && error.retryable && error.message.contains("has no room"),
        "{error}"
    );
    assert!(held.iter().all(|layer| layer.path.exists()) && size() <= 100_000);
    // The same archive for other requirements takes no room of its own.
    store.layer(&wanted("a==040000"), "a").await.unwrap();
    drop(held);
    store.layer(&wanted("c==40000"), "a").await.unwrap();
    assert!(size() <= 100_000);
    // What can never fit drops nothing.
    let error = store.layer(&wanted("d==200000"), "a").await.unwrap_err();
    assert_eq!((error.code, error.retryable), (ScriptErrorCode::PackagesRefused, false));
    assert!(size() > 40_000);
}

#[tokio::test]
async fn t18_a_layer_that_was_dropped_is_remembered_by_nobody() {
    let fixture = Fixture::new();
    let store = fixture.limited(50_000);
    let dropped = Arc::downgrade(&store.layer(&wanted("a==40000"), "a").await.unwrap());
    assert!(dropped.upgrade().is_some(), "it is there");
    store.layer(&wanted("b==40000"), "a").await.unwrap();
    assert!(dropped.upgrade().is_none());
}

#[tokio::test]
async fn t18_an_archive_with_a_link_is_not_kept_and_a_forbidden_package_is_not_even_asked_for() {
    let fixture = Fixture::new();
    let error = fixture.store().layer(&wanted("linked"), "a").await.unwrap_err();
    assert_eq!(error.code, ScriptErrorCode::PackagesRefused);
    assert!(error.message.contains("linked/link"), "{error}");
    assert_eq!(
        (fixture.files("archives").len(), fixture.files("unfinished").len()),
        (0, 0)
    );
    fixture.index.orders();
    let settings = StoreSettings {
        directory: fixture.directory.path().to_owned(),
        max_bytes: 1 << 20,
        allow: Allow::parse(&["b"]).unwrap(),
    };
    let store = LayerStore::open(settings, fixture.index.clone()).unwrap();
    let error = store.layer(&wanted("a b"), "a").await.unwrap_err();
    assert!(
        error.message.contains("not allowed: a;") && error.message.ends_with("may use b"),
        "{error}"
    );
    assert!(fixture.index.orders().is_empty());
}

#[tokio::test]
async fn what_an_earlier_process_left_unfinished_is_removed_after_an_hour() {
    let fixture = Fixture::new();
    fixture.store();
    for (name, seconds) in [("old", 4000), ("new", 10)] {
        let path = fixture.directory.path().join("unfinished").join(name);
        fs::File::create(&path).unwrap().write_all(b"half").unwrap();
        age(&path, seconds);
    }
    fixture.store();
    let left = fixture.files("unfinished");
    assert!(left.len() == 1 && left[0].ends_with("new"), "{left:?}");
}
