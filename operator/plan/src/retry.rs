//! When to try again what failed.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Time to wait after the `failures`-th failure in a row: it doubles from one second to five minutes. `jitter` in 0..1
/// spreads the retries of many objects over the upper half of that time.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST);
    doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        for (failures, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (u32::MAX, 300)] {
            assert_eq!(backoff(failures, 1.0), Duration::from_secs(seconds), "{failures}");
        }
        assert_eq!(backoff(2, 0.0), Duration::from_secs(1));
    }
}
