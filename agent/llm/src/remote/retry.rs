//! Whether and when a request that was not accepted is sent again. Pure.

use std::time::Duration;

use crate::ModelError;

/// Attempts to have a request answered, the first included.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How long to wait before the next attempt, or `None` to give up. `dice` is from 0 to 1; a provider that wants a
/// pause beyond `patience` is not waited for.
pub(super) fn pause(error: &ModelError, attempt: u32, patience: Duration, dice: f64) -> Option<Duration> {
    if !error.is_transient() || attempt >= ATTEMPTS {
        return None;
    }
    let pause = FIRST_PAUSE * 2u32.pow(attempt - 1);
    let pause = error.retry_after.unwrap_or_default() + pause.mul_f64(0.5 + dice / 2.0);
    (pause <= patience).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelErrorKind as Kind;

    #[test]
    fn only_what_may_pass_is_asked_again_and_never_for_long() {
        let after = |kind, retry_after: Option<u64>| ModelError {
            retry_after: retry_after.map(Duration::from_secs),
            ..ModelError::new(kind, "")
        };
        let milliseconds = Duration::from_millis;
        let cases = [
            (after(Kind::Overloaded, None), 1, 0.0, Some(milliseconds(125))),
            (after(Kind::Overloaded, None), 1, 1.0, Some(milliseconds(250))),
            (after(Kind::Unreachable, None), 2, 1.0, Some(milliseconds(500))),
            (after(Kind::CutStream, None), 1, 1.0, Some(milliseconds(250))),
            (after(Kind::RateLimited, Some(2)), 1, 1.0, Some(milliseconds(2250))),
            (after(Kind::RateLimited, Some(60)), 1, 0.0, None),
            (after(Kind::Overloaded, None), 3, 0.0, None),
            (after(Kind::Authentication, None), 1, 0.0, None),
            (after(Kind::InvalidRequest, None), 1, 0.0, None),
            (after(Kind::ContentFilter, None), 1, 0.0, None),
            (after(Kind::Timeout, None), 1, 0.0, None),
        ];
        for (error, attempt, dice, expected) in cases {
            let pause = pause(&error, attempt, Duration::from_secs(10), dice);
            assert_eq!(pause, expected, "{error:?}, attempt {attempt}");
        }
    }
}
