//! The tokens of a day: how many were used, and when the next day begins where the agent is.
//!
//! They are counted where the agent keeps its things, so that they outlive the process and replicas share them as far
//! as that place allows. While it cannot be used, this process goes on with what it knows and counts the rest later.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, Zoned, civil::Date, tz::TimeZone};
use rockbot_agent_store::{Space, StoreError};
use rockbot_llm::{Event, Usage};
use tokio::task::JoinHandle;
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
        self.look_at(&self.now()).await
    }

    /// How it stands, as far as this process knows without asking.
    pub fn known(&self) -> Standing {
        self.known_at(&self.now())
    }

    /// Counts `tokens`.
    pub(crate) async fn charge(&self, tokens: u64) {
        self.charge_at(self.now().date(), tokens).await;
    }

    async fn look_at(&self, now: &Zoned) -> Standing {
        let date = now.date();
        match self.space.get::<u64>(&name(date)).await {
            Ok(written) => self.learn(date, written.unwrap_or_default()),
            Err(error) => Self::cannot("read", &error),
        }
        self.known_at(now)
    }

    fn known_at(&self, now: &Zoned) -> Standing {
        Standing {
            used: self.day(now.date()).map_or(0, |day| day.used),
            limit: self.limit,
            resets_at: next_day(now),
        }
    }

    async fn charge_at(&self, date: Date, tokens: u64) {
        let unwritten = self.day(date).map_or(tokens, |mut day| {
            day.used += tokens;
            std::mem::take(&mut day.unwritten) + tokens
        });
        match self.space.add(&name(date), unwritten, Some(REMEMBERED)).await {
            Ok(written) => self.learn(date, written),
            Err(error) => {
                if let Some(mut day) = self.day(date) {
                    day.unwritten += unwritten;
                }
                Self::cannot("counted", &error);
            }
        }
    }

    /// Takes in what is written of `date`.
    fn learn(&self, date: Date, written: u64) {
        if let Some(mut day) = self.day(date) {
            day.used = day.used.max(written + day.unwritten);
        }
    }

    fn now(&self) -> Zoned {
        Timestamp::now().to_zoned(self.zone.clone())
    }

    /// The day `date`, begun if it is later than that before; `None` once it is over. Nothing that can panic runs under
    /// the lock, so a poisoned state is as good as any.
    fn day(&self, date: Date) -> Option<MutexGuard<'_, Day>> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.date < date {
            *day = Day { date, ..Day::default() };
        }
        (day.date == date).then_some(day)
    }

    fn cannot(what: &str, error: &StoreError) {
        warn!("the tokens of the day cannot be {what} where the agent keeps them: {error}");
    }
}

/// What one answer of a model costs, paid once: when it has ended, or when nobody waits for its end any more.
///
/// A provider says what it costs, at the end or on the way. What has come since then, and all of it where the provider says
/// nothing, costs a token for each piece: the least that it can have cost.
pub(crate) struct Bill {
    budget: Option<Arc<Budget>>,
    reported: u64,
    pieces: u64,
}

impl Bill {
    /// Nothing is paid without a budget.
    pub(crate) fn new(budget: Option<Arc<Budget>>) -> Self {
        Self {
            budget,
            reported: 0,
            pieces: 0,
        }
    }

    /// Takes in what the model says.
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            Event::Usage(usage) => self.count(usage),
            Event::Content(_) | Event::Reasoning(_) | Event::ToolCall(_) => self.pieces += 1,
            _ => {}
        }
    }

    /// Takes in what its provider says that it has cost so far.
    pub(crate) fn count(&mut self, usage: &Usage) {
        self.reported = usage.total_tokens.max(usage.prompt_tokens + usage.completion_tokens);
        self.pieces = 0;
    }

    /// Pays, and returns once it is counted.
    pub(crate) async fn settle(mut self) {
        if let Some(paying) = self.pay() {
            // It fails only when the process ends.
            let _ = paying.await;
        }
    }

    /// Goes on when the client goes away at this very moment.
    fn pay(&mut self) -> Option<JoinHandle<()>> {
        let budget = self.budget.take()?;
        let tokens = self.reported + self.pieces;
        (tokens > 0).then(|| tokio::spawn(async move { budget.charge(tokens).await }))
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.pay();
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
    async fn a_new_day_begins_with_nothing_and_the_old_one_is_over() {
        let space = Store::new(Arc::new(Ephemeral::default()), "a".into()).space("tokens");
        let budget = Budget::new(100, TimeZone::get("Asia/Tokyo").unwrap(), space.clone());
        let at = |time: &str| time.parse::<Timestamp>().unwrap().to_zoned(budget.zone.clone());
        let (evening, morning) = (at("2026-11-21T23:59:00+09:00"), at("2026-11-22T00:01:00+09:00"));
        budget.charge_at(evening.date(), 100).await;
        assert!(budget.look_at(&evening).await.is_exhausted());
        assert_eq!(budget.known_at(&morning).used, 0);
        assert_eq!(budget.look_at(&morning).await.used, 0);
        budget.charge_at(morning.date(), 7).await;
        // The answer began before midnight.
        budget.charge_at(evening.date(), 30).await;
        assert_eq!(budget.known_at(&morning).used, 7);
        assert_eq!(budget.look_at(&morning).await.used, 7);
        assert_eq!(space.get("2026-11-21").await, Ok(Some(130)));
        assert_eq!(space.get("2026-11-22").await, Ok(Some(7)));
    }

    #[rstest]
    #[case::nothing("", 0)]
    #[case::nobody_tells("p p p", 3)]
    #[case::at_the_end("p p p 13", 13)]
    #[case::totals_with_every_piece("p 11 p 12 p 13", 13)]
    #[case::what_was_read_comes_first("11 p p p 15", 15)]
    #[case::broken_off_after_that("11 p p p", 14)]
    #[tokio::test]
    async fn an_answer_is_paid_once(#[case] events: &str, #[case] cost: u64) {
        let space = Store::new(Arc::new(Ephemeral::default()), "a".into()).space("tokens");
        for settled in [true, false] {
            let budget = Arc::new(Budget::new(100, TimeZone::UTC, space.clone()));
            let before = budget.look().await.used;
            let mut bill = Bill::new(Some(Arc::clone(&budget)));
            for event in events.split_whitespace() {
                bill.add(&match event {
                    "p" => Event::Content(String::new()),
                    total => Event::Usage(Usage::new(total.parse().unwrap(), 0)),
                });
            }
            if settled {
                bill.settle().await;
            } else {
                drop(bill);
                // What was spawned is done once it is its turn.
                while Arc::strong_count(&budget) > 1 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(budget.known().used - before, cost, "settled: {settled}");
        }
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
        let today = name(budget.now().date());
        assert_eq!(space.get(&today).await, Ok(Some(67)));
    }
}
