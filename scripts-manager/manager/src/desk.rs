//! Who gets the next sandbox, and how many to start. Pure: no clock, no I/O.

use std::collections::{HashMap, VecDeque};

use rockbot_identity::Caller;

/// How much one agent may have waiting, in multiples of what it may have running. It keeps room in the queue for others.
const QUEUE_SHARE: usize = 4;

/// Something that waits for a sandbox.
pub(crate) trait Waiting {
    /// Who waits.
    fn caller(&self) -> &Caller;
    /// Whether anybody still wants it.
    fn is_wanted(&self) -> bool;
}

/// A sandbox that waits for a script.
pub(crate) trait Parked {
    /// Name of its pod.
    fn name(&self) -> &str;
}

/// Bounds of a [`Desk`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub pool_size: usize,
    pub queue_size: usize,
    pub max_concurrent: usize,
    pub max_concurrent_per_agent: usize,
}

/// Why a script may not even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The whole queue.
    Queue,
    /// This agent's share of it.
    AgentsShare,
}

/// How many of each there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub parked: usize,
    pub starting: usize,
    pub running: usize,
    pub waiting: usize,
}

/// Sandboxes to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Enough are there or coming.
    Nothing,
    /// The pool is not full, but nobody waits.
    Spare,
    /// Somebody waits, and no sandbox is coming for it.
    Urgent,
}

/// Scripts that wait on one side, parked sandboxes on the other.
#[derive(Debug)]
pub(crate) struct Desk<J, S> {
    limits: Limits,
    waiting: VecDeque<J>,
    parked: VecDeque<S>,
    starting: usize,
    running: HashMap<Caller, usize>,
}

impl<J: Waiting, S: Parked> Desk<J, S> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            parked: VecDeque::new(),
            starting: 0,
            running: HashMap::new(),
        }
    }

    /// Lets a script wait for its turn.
    pub(crate) fn submit(&mut self, job: J) -> Result<(), Full> {
        self.waiting.retain(Waiting::is_wanted);
        // A script that can start at once does not wait, whatever the queue's size.
        let capacity =
            self.limits.queue_size + self.parked.len().min(self.limits.max_concurrent - self.total_running());
        if self.waiting.len() >= capacity {
            return Err(Full::Queue);
        }
        let of_agent = self
            .waiting
            .iter()
            .filter(|other| other.caller() == job.caller())
            .count();
        if of_agent >= self.limits.max_concurrent_per_agent * QUEUE_SHARE {
            return Err(Full::AgentsShare);
        }
        self.waiting.push_back(job);
        Ok(())
    }

    /// Takes the oldest script whose agent may run one more, and the oldest sandbox. The script counts as running.
    pub(crate) fn next_pair(&mut self) -> Option<(J, S)> {
        self.waiting.retain(Waiting::is_wanted);
        if self.parked.is_empty() || self.total_running() >= self.limits.max_concurrent {
            return None;
        }
        let index = self.waiting.iter().position(|job| self.room_of(job.caller()) > 0)?;
        let (job, sandbox) = (self.waiting.remove(index)?, self.parked.pop_front()?);
        *self.running.entry(job.caller().clone()).or_default() += 1;
        Some((job, sandbox))
    }

    /// Puts a script back to the head of the queue: its sandbox was gone before it got anything.
    pub(crate) fn give_back(&mut self, job: J) {
        self.finished(job.caller());
        self.waiting.push_front(job);
    }

    /// A script of `caller` is not running any more.
    pub(crate) fn finished(&mut self, caller: &Caller) {
        if let Some(running) = self.running.get_mut(caller) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(caller);
            }
        }
    }

    /// A sandbox is being started.
    pub(crate) fn starting(&mut self) {
        self.starting += 1;
    }

    /// A sandbox that was being started is not coming.
    pub(crate) fn start_failed(&mut self) {
        self.starting -= 1;
    }

    /// A sandbox that was being started is ready.
    pub(crate) fn park(&mut self, sandbox: S) {
        self.starting -= 1;
        self.parked.push_back(sandbox);
    }

    /// A parked sandbox is gone.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.parked.retain(|sandbox| sandbox.name() != name);
    }

    /// Takes out every script for which `over` holds.
    pub(crate) fn expire(&mut self, over: impl Fn(&J) -> bool) -> Vec<J> {
        let (expired, waiting) = self.waiting.drain(..).partition(over);
        self.waiting = waiting;
        Vec::from(expired)
    }

    /// What to start next.
    pub(crate) fn lack(&self) -> Lack {
        let coming = self.parked.len() + self.starting;
        let needed = self.admissible();
        if coming < needed {
            Lack::Urgent
        } else if coming < needed + self.limits.pool_size {
            Lack::Spare
        } else {
            Lack::Nothing
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            parked: self.parked.len(),
            starting: self.starting,
            running: self.total_running(),
            waiting: self.waiting.len(),
        }
    }

    /// How many of the waiting scripts could run now if sandboxes were there.
    fn admissible(&self) -> usize {
        let mut taken: HashMap<&Caller, usize> = HashMap::new();
        for job in self.waiting.iter().filter(|job| job.is_wanted()) {
            *taken.entry(job.caller()).or_default() += 1;
        }
        let wanted: usize = taken
            .into_iter()
            .map(|(caller, count)| count.min(self.room_of(caller)))
            .sum();
        wanted.min(self.limits.max_concurrent - self.total_running())
    }

    fn room_of(&self, caller: &Caller) -> usize {
        self.limits.max_concurrent_per_agent - self.running.get(caller).copied().unwrap_or_default()
    }

    fn total_running(&self) -> usize {
        self.running.values().sum()
    }
}
