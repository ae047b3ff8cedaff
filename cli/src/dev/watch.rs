//! Tells when manifests have changed. Knows nothing of what is in them.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::manifests::is_manifest_name;

/// Editors write a file in several steps; after the first one they get this long for the rest.
const SETTLE: Duration = Duration::from_millis(150);

/// A running watch; ends when it is dropped.
pub(crate) struct Watch {
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches files and directories.
    ///
    /// # Errors
    /// When the operating system refuses, for example because too many files are watched already.
    pub(crate) fn start(paths: &[PathBuf]) -> anyhow::Result<Self> {
        // One place is enough: a change that finds it taken will be seen by the reload that is due anyway.
        let (sender, changes) = mpsc::channel(1);
        let files = paths.iter().filter(|path| !path.is_dir());
        let names: HashSet<_> = files.filter_map(|path| path.file_name().map(OsString::from)).collect();
        let concerns_us =
            move |path: &PathBuf| is_manifest_name(path) || path.file_name().is_some_and(|name| names.contains(name));
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let changed = |event: notify::Event| {
                !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(&concerns_us)
            };
            if event.is_ok_and(changed) {
                // Full means that a reload is due anyway; closed means that nobody waits any more.
                let _ = sender.try_send(());
            }
        })?;
        for path in paths {
            let directory = watched_directory(path);
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .with_context(|| format!("cannot watch {} for edits", directory.display()))?;
        }
        Ok(Self {
            changes,
            _watcher: watcher,
        })
    }

    /// Waits for the next change and until it has settled.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(SETTLE).await;
        while self.changes.try_recv().is_ok() {}
    }
}

/// Of a file its directory is watched: editors and `kubectl` mounts replace files instead of writing to them.
fn watched_directory(path: &Path) -> &Path {
    if path.is_dir() {
        return path;
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
