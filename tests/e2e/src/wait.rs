//! Waiting for something to become true, with a deadline and a reason when it does not.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// What an attempt saw.
#[derive(Debug)]
pub enum Seen<T> {
    /// What was waited for.
    Done(T),
    /// Not yet, and what was there instead.
    NotYet(String),
}

impl Seen<()> {
    /// Done when `condition` holds.
    pub fn when(condition: bool, otherwise: impl FnOnce() -> String) -> Self {
        if condition {
            Self::Done(())
        } else {
            Self::NotYet(otherwise())
        }
    }
}

/// Repeats `attempt` until it is done; an error of an attempt counts as "not yet".
///
/// # Errors
/// When `deadline` passes; the message says what was waited for and what was seen last.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut attempt: impl AsyncFnMut() -> Result<Seen<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut seen = "the first attempt did not end in time".to_owned();
    loop {
        match tokio::time::timeout_at(end, attempt()).await {
            Ok(Ok(Seen::Done(value))) => return Ok(value),
            Ok(Ok(Seen::NotYet(instead))) => seen = instead,
            Ok(Err(error)) => seen = format!("{error:#}"),
            // What was seen before says more.
            Err(_) => {}
        }
        if Instant::now() >= end {
            bail!("{what}: not within {} s; last seen: {seen}", deadline.as_secs_f32());
        }
        sleep(Duration::from_millis(100)).await;
    }
}
