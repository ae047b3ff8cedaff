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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t17_a_pod_that_is_stopped_proves_nothing_before_the_canary_answers_this_manager() {
        let findings = Findings::default();
        let take_in = |canary| {
            findings.take_in(&Ready {
                canary,
                ..Ready::default()
            })
        };
        assert_eq!(take_in(Canary::Blocked), Canary::Unknown);
        assert_eq!(take_in(Canary::Reached), Canary::Reached);
        findings.canary_answers();
        assert_eq!(take_in(Canary::Blocked), Canary::Blocked);
        assert_eq!(take_in(Canary::Unknown), Canary::Unknown);
        let expected = Verdicts {
            answers: true,
            blocked: 1,
            reached: 1,
            unknown: 2,
        };
        assert_eq!(findings.now().canary, expected);
    }
}
