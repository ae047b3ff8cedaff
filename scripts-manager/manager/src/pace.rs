//! When a sandbox is started: at once for a script that waits, otherwise where it does not get into a script's way. Pure.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::desk::Lack;

/// A spare sandbox is started when nothing has happened for so long …
const QUIET: Duration = Duration::from_millis(30);
/// … or the lack has lasted for so long.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two spare sandboxes.
const SPACING: Duration = Duration::from_millis(100);
/// Wait after a first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What the next start depends on.
#[derive(Debug)]
pub(crate) struct Pace {
    active: Instant,
    lacking_since: Option<Instant>,
    last_start: Option<Instant>,
    failures: u32,
    not_before: Instant,
    problem: Option<String>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            active: now,
            lacking_since: None,
            last_start: None,
            failures: 0,
            not_before: now,
            problem: None,
        }
    }

    /// When to start the next sandbox, if any.
    pub(crate) fn when(&mut self, lack: Lack, now: Instant) -> Option<Instant> {
        match lack {
            Lack::Nothing => {
                self.lacking_since = None;
                None
            }
            Lack::Urgent => Some(self.not_before),
            Lack::Spare => {
                let since = *self.lacking_since.get_or_insert(now);
                let quiet = (self.active + QUIET).min(since + PATIENCE);
                let spaced = self.last_start.map_or(now, |last| last + SPACING);
                Some(quiet.max(spaced).max(self.not_before))
            }
        }
    }

    /// A script started or ended.
    pub(crate) fn active(&mut self, now: Instant) {
        self.active = now;
    }

    /// A sandbox was started.
    pub(crate) fn started(&mut self, now: Instant) {
        self.last_start = Some(now);
        self.lacking_since = None;
    }

    /// A sandbox did not become ready: the next waits, longer each time.
    pub(crate) fn failed(&mut self, now: Instant, problem: String) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures += 1;
        self.not_before = now + wait.mul_f64(rand::rng().random_range(0.8..1.2));
        self.problem = Some(problem);
    }

    /// A sandbox became ready.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.problem = None;
    }

    /// What went wrong last, if it still does.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}
