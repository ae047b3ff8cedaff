//! Parked sandboxes on one side, scripts that wait for one on the other.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rockbot_sandbox::Walls;
use rockbot_scripts_api::{ScriptError, ScriptErrorCode};
use tokio::{sync::oneshot, time::sleep};

use crate::{process::Sandbox, python::Python};

/// A new sandbox starts this long after a script, so that what follows the script's answer does not wait for it.
const REFILL_DELAY: Duration = Duration::from_millis(50);

/// Keeps sandboxes parked.
#[derive(Debug)]
pub(crate) struct Pool {
    python: Arc<Python>,
    size: usize,
    stock: Mutex<Stock>,
}

/// Nothing is parked while a script waits, and a sandbox is starting for each that does.
#[derive(Debug, Default)]
struct Stock {
    parked: VecDeque<Sandbox>,
    /// Those that will start in a moment, too: nobody starts another one in their place.
    starting: usize,
    waiting: VecDeque<oneshot::Sender<Result<Sandbox, ScriptError>>>,
}

impl Pool {
    /// An empty pool that will be of `size`.
    pub(crate) fn new(python: Arc<Python>, size: usize) -> Arc<Self> {
        Arc::new(Self {
            python,
            size,
            stock: Mutex::default(),
        })
    }

    /// How many sandboxes are parked now.
    pub(crate) fn parked(&self) -> usize {
        self.stock().parked.len()
    }

    /// A sandbox that nobody else gets: one that is parked, or else the next that is ready.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Sandbox, ScriptError> {
        loop {
            let mut sandbox = match self.parked_or_next() {
                Ok(sandbox) => sandbox,
                Err(next) => {
                    self.fill_after(Duration::ZERO);
                    // Its start has a deadline.
                    next.await.unwrap_or_else(|_| Err(ended()))?
                }
            };
            if sandbox.is_alive().await {
                return Ok(sandbox);
            }
        }
    }

    fn parked_or_next(&self) -> Result<Sandbox, oneshot::Receiver<Result<Sandbox, ScriptError>>> {
        let mut stock = self.stock();
        stock.parked.pop_front().ok_or_else(|| {
            let (hand_over, next) = oneshot::channel();
            stock.waiting.push_back(hand_over);
            next
        })
    }

    /// Starts what is missing, in the background, once a script is over.
    pub(crate) fn refill(self: &Arc<Self>) {
        self.fill_after(REFILL_DELAY);
    }

    fn fill_after(self: &Arc<Self>, delay: Duration) {
        let missing = self.stock().start_missing(self.size);
        for _ in 0..missing {
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                sleep(delay).await;
                let started = Sandbox::start(pool.python.path().await, Walls::Strict).await;
                pool.arrived(started);
            });
        }
    }

    /// Gives a sandbox, or the reason why there is none, to whoever has waited longest.
    fn arrived(&self, mut started: Result<Sandbox, ScriptError>) {
        let mut stock = self.stock();
        stock.starting -= 1;
        while let Some(hand_over) = stock.waiting.pop_front() {
            match hand_over.send(started) {
                Ok(()) => return,
                Err(kept) => started = kept,
            }
        }
        match started {
            Ok(sandbox) if stock.parked.len() < self.size => stock.parked.push_back(sandbox),
            // The script that it was started for is not wanted any more.
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "no sandbox could be parked"),
        }
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    /// How many sandboxes are to be started. They count as starting from now on.
    fn start_missing(&mut self, size: usize) -> usize {
        self.waiting.retain(|hand_over| !hand_over.is_closed());
        let missing = (size + self.waiting.len()).saturating_sub(self.parked.len() + self.starting);
        self.starting += missing;
        missing
    }
}

fn ended() -> ScriptError {
    ScriptError::new(ScriptErrorCode::Internal, "the runner of scripts has ended")
}
