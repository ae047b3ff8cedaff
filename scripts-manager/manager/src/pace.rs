//! When a sandbox is started or deleted: at once for a script that waits, otherwise where it does not get into a script's
//! way. Pure: time comes from outside.
//!
//! A start and an end of a pod keep a node's CPUs busy for a large part of a second, a script for a few milliseconds.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::desk::Lack;

/// Nothing happened for so long: no script is likely to be running now.
const QUIET: Duration = Duration::from_millis(40);
/// Longest wait for quiet: that of a spare sandbox while the pool is nearly full, or of a used one for its end.
const PATIENCE: Duration = Duration::from_secs(1);
/// Shortest one: the script that took the last sandbox is over by then, and a start takes ten times as long.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
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
    next_spare: Instant,
    failures: u32,
    not_before: Instant,
    problem: Option<String>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            active: now,
            lacking_since: None,
            next_spare: now,
            failures: 0,
            not_before: now,
            problem: None,
        }
    }

    /// When to start the next sandbox, if any. The emptier the pool, the less a spare one waits for quiet.
    pub(crate) fn when(&mut self, lack: Lack, now: Instant) -> Option<Instant> {
        match lack {
            Lack::Nothing => {
                self.lacking_since = None;
                None
            }
            Lack::Urgent => Some(self.not_before),
            Lack::Spare { filled, target, .. } => {
                let since = *self.lacking_since.get_or_insert(now);
                let patience = PATIENCE.mul_f64(filled as f64 / target as f64).max(LEAST_PATIENCE);
                let quiet = (self.active + QUIET).min(since + patience);
                Some(quiet.max(self.next_spare).max(self.not_before))
            }
        }
    }

    /// When to delete a sandbox whose script ended then.
    pub(crate) fn when_to_delete(&self, ended: Instant) -> Instant {
        (self.active + QUIET).min(ended + PATIENCE)
    }

    /// A script started or ended.
    pub(crate) fn active(&mut self, now: Instant) {
        self.active = now;
    }

    /// A sandbox was started. Several managers shall not go on starting theirs at the same moments.
    pub(crate) fn started(&mut self, now: Instant) {
        self.next_spare = now + SPACING.mul_f64(rand::rng().random_range(0.8..1.2));
        self.lacking_since = None;
    }

    /// A sandbox did not become ready, or did not stay so: the next waits, longer each time. Many that fail at once, because
    /// the API server went away, are one failure.
    pub(crate) fn failed(&mut self, now: Instant, problem: String) {
        self.problem = Some(problem);
        if now < self.not_before {
            return;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures += 1;
        self.not_before = now + wait.mul_f64(rand::rng().random_range(0.8..1.2));
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
