//! A circuit breaker: an endpoint that keeps failing is left alone for a while, then asked by one request at a time.
//!
//! [`Breaker`] is a pure state machine that is told the time; [`Gate`] is one that requests pass through.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row that open the circuit.
const FAILURES: u32 = 5;
/// How long it is open the first time; each failed attempt to close it doubles that.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    /// Requests pass. So many have failed in a row.
    Closed { failures: u32 },
    /// No request passes before `until`.
    Open { until: Instant, pause: Duration },
    /// One request is on its way to find out.
    Probing { pause: Duration },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether a request may pass now; otherwise when it might.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match *self {
            Self::Closed { .. } => Ok(()),
            Self::Open { until, .. } if now < until => Err(until - now),
            Self::Open { pause, .. } => {
                *self = Self::Probing { pause };
                Ok(())
            }
            Self::Probing { pause } => Err(pause),
        }
    }

    /// A request was answered.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// A request failed in a way that is the endpoint's fault.
    pub(super) fn fail(&mut self, now: Instant) {
        let pause = match *self {
            Self::Closed { failures } if failures + 1 < FAILURES => {
                *self = Self::Closed { failures: failures + 1 };
                return;
            }
            // Requests that were on their way when it opened say nothing new.
            Self::Open { .. } => return,
            Self::Closed { .. } => FIRST_PAUSE,
            Self::Probing { pause } => (pause * 2).min(LONGEST_PAUSE),
        };
        *self = Self::Open {
            until: now + pause,
            pause,
        };
    }

    /// A request ended without a verdict: its client went away, or the endpoint asked for patience.
    pub(super) fn abandon(&mut self, now: Instant) {
        if let Self::Probing { pause } = *self {
            *self = Self::Open { until: now, pause };
        }
    }
}

/// A breaker that requests share.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Breaker>);

/// The way of one request through a gate. Dropped without a verdict, it is abandoned.
#[derive(Debug)]
pub(super) struct Pass<'a>(Option<&'a Gate>);

/// What a request tells about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Works,
    /// It does not.
    Fails,
    /// Neither.
    Nothing,
}

impl Gate {
    /// A way through; otherwise when there might be one.
    pub(super) fn admit(&self) -> Result<Pass<'_>, Duration> {
        self.lock().admit(Instant::now()).map(|()| Pass(Some(self)))
    }

    /// Whether requests pass as they come.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.lock(), Breaker::Closed { .. })
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Ends the way.
    pub(super) fn close(mut self, verdict: Verdict) {
        let Some(gate) = self.0.take() else { return };
        match verdict {
            Verdict::Works => gate.lock().succeed(),
            Verdict::Fails => gate.lock().fail(Instant::now()),
            Verdict::Nothing => gate.lock().abandon(Instant::now()),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.0 {
            gate.lock().abandon(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
