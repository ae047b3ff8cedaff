//! Samples and what is said about them: medians and tails, never means.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds of one thing, measured many times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

/// What a table shows of [`Samples`], in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// How many.
    pub(crate) n: usize,
    /// Median.
    pub(crate) p50: f64,
    /// Nine of ten are not longer.
    pub(crate) p90: f64,
    /// 99 of 100 are not longer; the longest, when there are fewer than 100.
    pub(crate) p99: f64,
}

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(milliseconds(sample));
    }

    /// Adds one, in milliseconds.
    pub(crate) fn push_ms(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Adds what `one` took longer than `other`, which may be less than nothing.
    pub(crate) fn push_difference(&mut self, one: Duration, other: Duration) {
        self.0.push(milliseconds(one) - milliseconds(other));
    }

    /// Adds all of `other`.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sums them up.
    pub(crate) fn summary(&self) -> Summary {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let percentile = |percent: usize| {
            // Nearest rank: a value that was measured, not one between two.
            let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
            sorted.get(rank).copied().unwrap_or(f64::NAN)
        };
        Summary {
            n: sorted.len(),
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let mut samples = Samples::default();
        for milliseconds in (1..=200).rev() {
            samples.push(Duration::from_millis(milliseconds));
        }
        let summary = samples.summary();
        assert_eq!(
            (summary.n, summary.p50, summary.p90, summary.p99),
            (200, 100.0, 180.0, 198.0)
        );
        let mut few = Samples::default();
        few.push(Duration::from_millis(7));
        few.push(Duration::from_millis(9));
        assert_eq!((few.summary().p50, few.summary().p99), (7.0, 9.0));
        assert!(Samples::default().summary().p50.is_nan());
    }
}
