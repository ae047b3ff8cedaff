//! Who gets the next sandbox, which to start and which to let go. Pure: no clock, no I/O.

use std::collections::{HashMap, VecDeque};

use rockbot_identity::Caller;
use rockbot_scripts_packages::LayerId;

/// How much one agent may have waiting, in multiples of what it may have running. It keeps room in the queue for others.
const QUEUE_SHARE: usize = 4;

/// Spare sandboxes that are started at the same time: more of them only take each other's CPU.
const MAX_SPARE_STARTS: usize = 4;
/// Those of one set of packages. Its modules may take for ever to import, and the others' starts do not wait for that.
const MAX_STARTS_OF_PACKAGES: usize = 2;

/// What a sandbox was prepared with, and what a script needs. Everything else is the same for all of one manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// Packages that are unpacked in it, if any.
    pub packages: Option<LayerId>,
}

/// Something that waits for a sandbox.
pub(crate) trait Waiting {
    /// Who waits.
    fn caller(&self) -> &Caller;
    /// What it needs.
    fn key(&self) -> PoolKey;
    /// Whether anybody still wants it.
    fn is_wanted(&self) -> bool;
}

/// A sandbox that waits for a script.
pub(crate) trait Parked {
    /// Name of its pod.
    fn name(&self) -> &str;
    /// What it has.
    fn key(&self) -> PoolKey;
}

/// Bounds of a [`Desk`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
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

/// The sandboxes of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stock {
    pub parked: usize,
    pub starting: usize,
    pub target: usize,
}

/// A sandbox to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Enough are there or coming.
    Nothing,
    /// Nobody waits, but fewer of this key are there than should be. `filled` of `target` are.
    Spare { key: PoolKey, filled: usize, target: usize },
    /// Somebody waits, and no sandbox is coming for it.
    Urgent,
}

/// Scripts that wait on one side, parked sandboxes on the other.
#[derive(Debug)]
pub(crate) struct Desk<J, S> {
    limits: Limits,
    /// Parked sandboxes to have, the more important ones first.
    targets: Vec<(PoolKey, usize)>,
    waiting: VecDeque<J>,
    parked: VecDeque<S>,
    starting: HashMap<PoolKey, usize>,
    running: HashMap<Caller, usize>,
}

impl PoolKey {
    /// Whether a sandbox of this key can be had ready for a script that needs `wanted`: it has it, or nothing yet.
    fn serves(self, wanted: Self) -> bool {
        self == wanted || self == Self::default()
    }
}

impl<J: Waiting, S: Parked> Desk<J, S> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            targets: Vec::new(),
            waiting: VecDeque::new(),
            parked: VecDeque::new(),
            starting: HashMap::new(),
            running: HashMap::new(),
        }
    }

    /// How many sandboxes should be parked, by key.
    pub(crate) fn aim(&mut self, targets: Vec<(PoolKey, usize)>) {
        self.targets = targets;
    }

    /// Lets a script wait for its turn, and says whether a sandbox is parked that it can have.
    pub(crate) fn submit(&mut self, job: J) -> Result<bool, Full> {
        self.waiting.retain(Waiting::is_wanted);
        // A script that can start at once does not wait, whatever the queue's size.
        let usable = self.parked.iter().filter(|one| one.key().serves(job.key())).count();
        let capacity = self.limits.queue_size + usable.min(self.room());
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
        Ok(usable > 0)
    }

    /// Takes the oldest script whose agent may run one more and for which a sandbox is there, and the oldest sandbox that
    /// has what it needs, or else nothing yet. The script counts as running.
    pub(crate) fn next_pair(&mut self) -> Option<(J, S)> {
        self.waiting.retain(Waiting::is_wanted);
        if self.parked.is_empty() || self.room() == 0 {
            return None;
        }
        let (script, sandbox) = self.waiting.iter().enumerate().find_map(|(index, job)| {
            let may_run = self.room_of(job.caller()) > 0;
            Some((index, may_run.then(|| self.sandbox_for(job.key())).flatten()?))
        })?;
        let (job, sandbox) = (self.waiting.remove(script)?, self.parked.remove(sandbox)?);
        *self.running.entry(job.caller().clone()).or_default() += 1;
        Some((job, sandbox))
    }

    fn sandbox_for(&self, wanted: PoolKey) -> Option<usize> {
        let of = |key| self.parked.iter().position(|sandbox| sandbox.key() == key);
        of(wanted).or_else(|| of(PoolKey::default()))
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
    pub(crate) fn starting(&mut self, key: PoolKey) {
        *self.starting.entry(key).or_default() += 1;
    }

    /// A sandbox that was being started is not coming.
    pub(crate) fn start_failed(&mut self, key: PoolKey) {
        if let Some(starting) = self.starting.get_mut(&key) {
            *starting -= 1;
            if *starting == 0 {
                self.starting.remove(&key);
            }
        }
    }

    /// A sandbox that was being started is ready.
    pub(crate) fn park(&mut self, sandbox: S) {
        self.start_failed(sandbox.key());
        self.parked.push_back(sandbox);
    }

    /// A parked sandbox is gone.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.parked.retain(|sandbox| sandbox.name() != name);
    }

    /// Takes out the oldest sandbox of a key of which more are parked than should be.
    pub(crate) fn surplus(&mut self) -> Option<S> {
        let index = self.parked.iter().position(|sandbox| {
            let stock = self.stock_of(sandbox.key());
            stock.parked > stock.target
        })?;
        self.parked.remove(index)
    }

    /// Takes out every script for which `over` holds.
    pub(crate) fn expire(&mut self, over: impl Fn(&J) -> bool) -> Vec<J> {
        let (expired, waiting) = self.waiting.drain(..).partition(over);
        self.waiting = waiting;
        Vec::from(expired)
    }

    /// What to start next.
    pub(crate) fn lack(&self) -> Lack {
        let plain = PoolKey::default();
        // Scripts take what was prepared for them first; all others need a sandbox with nothing in it.
        let needed: usize = self
            .admissible()
            .into_iter()
            .map(|(key, count)| match key == plain {
                true => count,
                false => count.saturating_sub(self.stock_of(key).coming()),
            })
            .sum();
        if self.stock_of(plain).coming() < needed {
            return Lack::Urgent;
        }
        let filled = |key| self.stock_of(key).coming() - if key == plain { needed } else { 0 };
        self.targets
            .iter()
            .map(|&(key, target)| (key, filled(key), target))
            .find(|&(key, filled, target)| filled < target && self.may_start(key))
            .map_or(Lack::Nothing, |(key, filled, target)| Lack::Spare {
                key,
                filled,
                target,
            })
    }

    /// Whether one more spare sandbox may be started. Those with nothing in them wait for each other alone.
    fn may_start(&self, key: PoolKey) -> bool {
        let of_key = self.stock_of(key).starting;
        match key.packages {
            None => of_key < MAX_SPARE_STARTS,
            Some(_) => of_key < MAX_STARTS_OF_PACKAGES && self.counts().starting < MAX_SPARE_STARTS,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            parked: self.parked.len(),
            starting: self.starting.values().sum(),
            running: self.total_running(),
            waiting: self.waiting.len(),
        }
    }

    /// What is there of each key that has a target.
    pub(crate) fn stocks(&self) -> Vec<(PoolKey, Stock)> {
        self.targets.iter().map(|&(key, _)| (key, self.stock_of(key))).collect()
    }

    fn stock_of(&self, key: PoolKey) -> Stock {
        Stock {
            parked: self.parked.iter().filter(|sandbox| sandbox.key() == key).count(),
            starting: self.starting.get(&key).copied().unwrap_or_default(),
            target: self
                .targets
                .iter()
                .find(|(other, _)| *other == key)
                .map_or(0, |(_, target)| *target),
        }
    }

    /// How many of the waiting scripts could run now if sandboxes were there, by what they need.
    fn admissible(&self) -> HashMap<PoolKey, usize> {
        let mut taken: HashMap<&Caller, usize> = HashMap::new();
        let mut wanted = HashMap::new();
        let may_run = self.waiting.iter().filter(|job| {
            let taken = taken.entry(job.caller()).or_default();
            let admitted = job.is_wanted() && *taken < self.room_of(job.caller());
            *taken += usize::from(admitted);
            admitted
        });
        for job in may_run.take(self.room()) {
            *wanted.entry(job.key()).or_default() += 1;
        }
        wanted
    }

    fn room(&self) -> usize {
        self.limits.max_concurrent - self.total_running()
    }

    fn room_of(&self, caller: &Caller) -> usize {
        self.limits.max_concurrent_per_agent - self.running.get(caller).copied().unwrap_or_default()
    }

    fn total_running(&self) -> usize {
        self.running.values().sum()
    }
}

impl Stock {
    fn coming(self) -> usize {
        self.parked + self.starting
    }
}
