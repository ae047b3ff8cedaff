//! What sandboxes of this process left behind on this machine: processes and directories.

use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;
use rockbot_scripts_local::directory_prefix;
use tokio::time::sleep;

/// Processes that nobody owned before, and so cannot be ours.
#[derive(Debug)]
pub(crate) struct Leftovers {
    orphans: HashSet<u32>,
}

/// A process, as `/proc` has it.
#[derive(Clone, Copy, Debug)]
struct Process {
    id: u32,
    parent: u32,
}

impl Leftovers {
    /// Remembers what is there already.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let orphans = processes()?.filter(|process| process.parent == 1);
        Ok(Self {
            orphans: orphans.map(|process| process.id).collect(),
        })
    }

    /// Waits until nothing is left, at most for `limit`, and says what is.
    ///
    /// # Errors
    /// When `/proc` or the directory for temporary files cannot be read.
    pub(crate) async fn gone(&self, limit: Duration) -> anyhow::Result<Vec<String>> {
        let begin = Instant::now();
        loop {
            let left = self.left()?;
            if left.is_empty() || begin.elapsed() > limit {
                return Ok(left);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn left(&self) -> anyhow::Result<Vec<String>> {
        // A process that lost its supervisor belongs to the first process of the machine from then on.
        let ours = |process: &Process| {
            process.parent == std::process::id()
                || (process.parent == 1 && !self.orphans.contains(&process.id) && runs_supervisor(process.id))
        };
        let mut left: Vec<_> = processes()?
            .filter(ours)
            .map(|process| format!("process {}", process.id))
            .collect();
        let temporary = std::env::temp_dir();
        for entry in fs::read_dir(&temporary).with_context(|| format!("cannot list {}", temporary.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&directory_prefix()) {
                left.push(format!("directory {}", path.display()));
            }
        }
        Ok(left)
    }
}

fn processes() -> anyhow::Result<impl Iterator<Item = Process>> {
    let entries = fs::read_dir("/proc").context("cannot list processes")?;
    Ok(entries.filter_map(|entry| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // Its name is in brackets and may hold anything; then come its state and its parent.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some(Process { id, parent })
    }))
}

fn runs_supervisor(id: u32) -> bool {
    let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let arguments: Vec<_> = command.split(|byte| *byte == 0).collect();
    // As `supervisor_command` has it: isolated Python with a program of its own that runs locally.
    arguments
        .get(1..5)
        .is_some_and(|flags| flags == [&b"-I"[..], b"-S", b"-u", b"-c"])
        && arguments.get(6).is_some_and(|place| *place == b"local")
}
