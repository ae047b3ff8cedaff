//! An open loop: requests are sent by the clock, whether or not earlier ones have been answered, and each one's time counts
//! from the moment at which it was due. Who answers late is not asked less for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::client::{Connection, Target};
use crate::stats::Samples;

/// Words of a question, and so tokens of its answer.
pub(crate) const WORDS: usize = 8;
/// Connections that are there before the first request.
const WARM: usize = 16;
/// Connections at most: who needs more has fallen behind for good.
const MOST: usize = 512;
const DEADLINE: Duration = Duration::from_secs(10);

/// What became of the requests of a few seconds.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// From the moment at which a request was due until its first token.
    pub(crate) first: Samples,
    /// Until its last.
    pub(crate) whole: Samples,
    /// Requests without an answer.
    pub(crate) failed: usize,
}

/// `rate` requests a second to `target`, from a thread of its own.
pub(crate) async fn window(target: &Target, rate: u32, length: Duration) -> Result<Window> {
    let target = target.clone();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(target, rate, length))
    };
    tokio::task::spawn_blocking(work).await.context("the load broke off")?
}

async fn run(target: Target, rate: u32, length: Duration) -> Result<Window> {
    let request = Arc::new(target.request(WORDS));
    let mut idle = Vec::new();
    for _ in 0..WARM {
        let mut connection = Connection::open(target.address).await?;
        connection.ask(&request).await?;
        idle.push(connection);
    }
    let idle = Arc::new(Mutex::new(idle));
    let mut running = JoinSet::new();
    let mut window = Window::default();
    let mut due = clock(rate, length);
    while let Some(due) = due.recv().await {
        if running.len() >= MOST {
            window.failed += 1;
            continue;
        }
        let (idle, request) = (Arc::clone(&idle), Arc::clone(&request));
        running.spawn(async move {
            let free = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match free {
                Some(connection) => connection,
                None => Connection::open(target.address).await?,
            };
            let answer = timeout(DEADLINE, connection.ask(&request)).await??;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            anyhow::Ok((answer.first - due, answer.end - due))
        });
        while let Some(done) = running.try_join_next() {
            window.add(done?);
        }
    }
    while let Some(done) = running.join_next().await {
        window.add(done?);
    }
    Ok(window)
}

/// Tells when each request is due.
fn clock(rate: u32, length: Duration) -> mpsc::UnboundedReceiver<Instant> {
    let (tick, due) = mpsc::unbounded_channel();
    let pause = Duration::from_secs(1) / rate;
    let begin = Instant::now() + Duration::from_millis(10);
    std::thread::spawn(move || {
        let mut at = begin;
        while at < begin + length {
            #[expect(
                clippy::disallowed_methods,
                reason = "a thread that only sleeps: tokio's timer knows no less than a millisecond"
            )]
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if tick.send(at).is_err() {
                return;
            }
            at += pause;
        }
    });
    due
}

impl Window {
    fn add(&mut self, done: Result<(Duration, Duration)>) {
        match done {
            Ok((first, whole)) => {
                self.first.push(first);
                self.whole.push(whole);
            }
            Err(_) => self.failed += 1,
        }
    }

    /// Whether the answers kept up with the questions.
    pub(crate) fn kept_up(&self) -> bool {
        self.failed == 0 && self.whole.summary().p90 < 250.0
    }
}
