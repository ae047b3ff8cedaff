//! What script pods said about the walls inside and around them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rockbot_sandbox::{Canary, Ready};
use serde::Serialize;

/// What is known of the walls.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    known: Mutex<Known>,
}

/// The walls, as `/v1/status` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Known {
    /// Walls inside the latest pod.
    pub walls: Walls,
    /// What became of the pods' attempts to reach the canary.
    pub canary: Verdicts,
}

/// The walls inside a pod, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Walls {
    pub held: Vec<String>,
    pub missing: Vec<String>,
}

/// How many pods reached the canary and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdicts {
    /// Whether it answers this manager: otherwise it proves nothing that pods do not reach it.
    pub answers: bool,
    pub blocked: u64,
    pub reached: u64,
    pub unknown: u64,
}

impl Findings {
    /// The canary is there for everybody who gets through.
    pub(crate) fn canary_answers(&self) {
        self.known().canary.answers = true;
    }

    /// Takes in what a supervisor says of itself, and says what that makes of its canary.
    pub(crate) fn take_in(&self, ready: &Ready) -> Canary {
        let mut known = self.known();
        known.walls.held.clone_from(&ready.walls);
        known.walls.missing.clone_from(&ready.missing);
        let verdict = match ready.canary {
            Canary::Blocked if !known.canary.answers => Canary::Unknown,
            verdict => verdict,
        };
        match verdict {
            Canary::Blocked => known.canary.blocked += 1,
            Canary::Reached => known.canary.reached += 1,
            Canary::Unknown => known.canary.unknown += 1,
        }
        verdict
    }

    /// What is known now.
    pub(crate) fn now(&self) -> Known {
        self.known().clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
