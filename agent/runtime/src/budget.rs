//! The tokens of a day: how many were used, and when the next day begins where the agent is.
//!
//! They are counted where the agent keeps its things, so that they outlive the process and replicas share them as far
//! as that place allows. While it cannot be used, this process goes on with what it knows and counts the rest later.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, Zoned, civil::Date, tz::TimeZone};
use rockbot_agent_store::{Space, StoreError};
use tracing::warn;

/// How long a day is remembered: longer than it lasts anywhere.
const REMEMBERED: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The tokens that an agent may use on one day.
pub struct Budget {
    limit: u64,
    zone: TimeZone,
    space: Space,
    day: Mutex<Day>,
}

/// How much of a day's tokens is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Tokens that were used today.
    pub used: u64,
    /// Tokens that may be.
    pub limit: u64,
    /// When the next day begins.
    pub resets_at: Zoned,
}

#[derive(Debug, Default)]
struct Day {
    date: Date,
    /// All that is known to be used.
    used: u64,
    /// What of it is not written down yet.
    unwritten: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64, zone: TimeZone, space: Space) -> Self {
        Self {
            limit,
            zone,
            space,
            day: Mutex::default(),
        }
    }

    /// How it stands, with what other processes have used.
    pub async fn look(&self) -> Standing {
        let date = self.today();
        match self.space.get::<u64>(&name(date)).await {
            Ok(written) => self.learn(date, written.unwrap_or_default()),
            Err(error) => Self::cannot("read", &error),
        }
        self.known()
    }

    /// How it stands, as far as this process knows without asking.
    pub fn known(&self) -> Standing {
        let now = self.now();
        Standing {
            used: self.day(now.date()).used,
            limit: self.limit,
            resets_at: next_day(&now),
        }
    }

    /// Counts `tokens`.
    pub(crate) async fn charge(&self, tokens: u64) {
        let date = self.today();
        let unwritten = {
            let mut day = self.day(date);
            day.used += tokens;
            std::mem::take(&mut day.unwritten) + tokens
        };
        match self.space.add(&name(date), unwritten, Some(REMEMBERED)).await {
            Ok(written) => self.learn(date, written),
            Err(error) => {
                self.day(date).unwritten += unwritten;
                Self::cannot("counted", &error);
            }
        }
    }

    /// Takes in what is written of `date`.
    fn learn(&self, date: Date, written: u64) {
        let mut day = self.day(date);
        if day.date == date {
            day.used = day.used.max(written + day.unwritten);
        }
    }

    fn today(&self) -> Date {
        self.now().date()
    }

    fn now(&self) -> Zoned {
        Timestamp::now().to_zoned(self.zone.clone())
    }

    /// The day `date`, begun anew when it is another one than that before. Nothing that can panic runs under the lock,
    /// so a poisoned state is as good as any.
    fn day(&self, date: Date) -> MutexGuard<'_, Day> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.date < date {
            *day = Day { date, ..Day::default() };
        }
        day
    }

    fn cannot(what: &str, error: &StoreError) {
        warn!("the tokens of the day cannot be {what} where the agent keeps them: {error}");
    }
}

impl Standing {
    /// Whether nothing is left.
    pub fn is_exhausted(&self) -> bool {
        self.used >= self.limit
    }

    /// Seconds until the next day, at least one.
    pub fn seconds_left(&self) -> u64 {
        let left = self.resets_at.timestamp().duration_since(Timestamp::now());
        u64::try_from(left.as_secs()).unwrap_or_default() + 1
    }

    /// When the next day begins, as RFC 3339 writes it.
    pub fn resets_at(&self) -> String {
        self.resets_at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

fn name(date: Date) -> String {
    date.to_string()
}

/// When the day after `now` begins: at midnight, but where the clocks are set forward at midnight. Time ends with the year
/// 9999.
fn next_day(now: &Zoned) -> Zoned {
    let next = now.tomorrow().and_then(|tomorrow| tomorrow.start_of_day());
    next.unwrap_or_else(|_| now.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rockbot_agent_store::{Backend, Ephemeral, Key, Store};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::utc("UTC", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00+00:00")]
    #[case::east("Asia/Tokyo", "2026-11-21T15:00:00Z", "2026-11-23T00:00:00+09:00")]
    #[case::a_short_day("Europe/Paris", "2026-03-29T10:00:00Z", "2026-03-30T00:00:00+02:00")]
    #[case::a_day_without_midnight("Africa/Cairo", "2026-04-23T20:00:00Z", "2026-04-24T01:00:00+03:00")]
    #[case::midnight_comes_twice("America/Havana", "2026-10-31T20:00:00Z", "2026-11-01T00:00:00-04:00")]
    fn a_day_begins_where_the_agent_is(#[case] zone: &str, #[case] now: &str, #[case] expected: &str) {
        let now: Timestamp = now.parse().unwrap();
        let standing = Standing {
            used: 0,
            limit: 1,
            resets_at: next_day(&now.in_tz(zone).unwrap()),
        };
        assert_eq!(standing.resets_at(), expected);
    }

    #[tokio::test]
    async fn processes_that_share_a_store_share_the_budget() {
        let backend = Arc::new(Ephemeral::default());
        let budget = || {
            Budget::new(
                100,
                TimeZone::UTC,
                Store::new(backend.clone(), "a".into()).space("tokens"),
            )
        };
        let (one, other) = (budget(), budget());
        one.charge(60).await;
        other.charge(30).await;
        assert_eq!(one.known().used, 60, "it has not asked");
        assert_eq!(one.look().await.used, 90);
        assert!(!one.look().await.is_exhausted());
        other.charge(10).await;
        assert!(other.known().is_exhausted() && one.look().await.is_exhausted());
        assert_eq!(budget().look().await.used, 100, "after a restart");
    }

    #[tokio::test]
    async fn a_store_that_fails_loses_nothing() {
        // Nothing fits into it as long as something else is in there.
        let backend = Arc::new(Ephemeral::with_capacity(64));
        let wall = Key {
            owner: "",
            kind: "",
            name: "wall",
        };
        backend.put(wall, &[0; 50], None).await.unwrap();
        let space = Store::new(backend.clone(), "a".into()).space("tokens");
        let budget = Budget::new(100, TimeZone::UTC, space.clone());
        budget.charge(60).await;
        assert_eq!(budget.look().await.used, 60, "this process knows");
        backend.delete(wall).await.unwrap();
        budget.charge(7).await;
        let today = name(budget.today());
        assert_eq!(space.get(&today).await, Ok(Some(67)));
    }
}
