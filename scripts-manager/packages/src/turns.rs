//! Whose installation is next. Few wait, of each caller and in all: whoever else comes is told so at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

/// Installers that run at the same time. The chart has room for them in the quota of its scripts namespace. No caller has
/// more than one of them.
const MAX_INSTALLERS: usize = 2;
/// Installations that wait for their turn.
const MAX_WAITING: usize = 64;
/// Those of one caller.
const MAX_WAITING_OF_CALLER: usize = 4;
/// How long an installation waits for its turn.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Who runs an installer, and who waits for one.
pub(crate) struct Turns {
    installers: Semaphore,
    /// The turn of each caller who has one or waits for it. Each of them holds it.
    callers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Leave to run an installer.
pub(crate) struct Turn<'a> {
    _own: OwnedSemaphorePermit,
    _common: SemaphorePermit<'a>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            installers: Semaphore::new(MAX_INSTALLERS),
            callers: Mutex::default(),
        }
    }

    /// Waits for a turn of `caller`. None when too many wait already, or it does not come in time.
    pub(crate) async fn take(&self, caller: &str) -> Option<Turn<'_>> {
        let own = self.of_caller(caller)?;
        // In this order: whoever waits for an own turn keeps no other caller from the common ones.
        let turn = async {
            Some(Turn {
                _own: own.acquire_owned().await.ok()?,
                _common: self.installers.acquire().await.ok()?,
            })
        };
        timeout(DEADLINE, turn).await.ok().flatten()
    }

    fn of_caller(&self, caller: &str) -> Option<Arc<Semaphore>> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, turn| holders(turn) > 0);
        let in_all: usize = callers.values().map(holders).sum();
        let of_caller = callers.get(caller).map_or(0, holders);
        if in_all >= MAX_INSTALLERS + MAX_WAITING || of_caller > MAX_WAITING_OF_CALLER {
            return None;
        }
        let turn = callers.entry(caller.to_owned());
        Some(Arc::clone(turn.or_insert_with(|| Arc::new(Semaphore::new(1)))))
    }
}

/// Installations that hold a turn or wait for it.
fn holders(turn: &Arc<Semaphore>) -> usize {
    Arc::strong_count(turn) - 1
}
