//! A list of conditions that keeps the time of what did not change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use rockbot_crds::conditions::{ConditionType, Reason, find};

/// Conditions of a generation, on top of those that were reported before.
pub(super) struct Conditions<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: &'a Time,
    list: Vec<Condition>,
}

/// Whether a resource works, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub state: State,
    pub reason: Reason,
    pub message: String,
}

/// Whether a resource works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It works.
    Ready,
    /// It does not work, and that is what was asked for.
    Idle,
    /// It will work if nothing goes wrong.
    Reconciling,
    /// It will not work unless something is changed.
    Stalled,
}

impl Verdict {
    pub(super) fn new(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            reason,
            message: message.into(),
        }
    }
}

impl<'a> Conditions<'a> {
    pub(super) fn new(before: &'a [Condition], generation: Option<i64>, now: &'a Time) -> Self {
        Self {
            before,
            generation,
            now,
            list: Vec::new(),
        }
    }

    /// `Ready`, and with it `Reconciling` or `Stalled`.
    pub(super) fn verdict(mut self, verdict: &Verdict) -> Self {
        let Verdict { state, reason, message } = verdict;
        self = self.with(ConditionType::Ready, *state == State::Ready, *reason, message);
        match state {
            State::Ready | State::Idle => self,
            State::Reconciling => self.with(ConditionType::Reconciling, true, *reason, message),
            State::Stalled => self.with(ConditionType::Stalled, true, *reason, message),
        }
    }

    pub(super) fn with(mut self, kind: ConditionType, is_true: bool, reason: Reason, message: &str) -> Self {
        let status = if is_true { "True" } else { "False" };
        let unchanged = find(self.before, kind).filter(|before| before.status == status);
        self.list.push(Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            observed_generation: self.generation,
            last_transition_time: unchanged
                .map_or_else(|| self.now.clone(), |before| before.last_transition_time.clone()),
        });
        self
    }

    pub(super) fn into_list(self) -> Vec<Condition> {
        self.list
    }
}
