//! The pool: parked sandboxes, the scripts that wait for one, and the life of each sandbox from its start to its end.
//!
//! Each sandbox is one task. Between a request and its script there is one lock, one channel and one write.

mod job;
mod life;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rockbot_identity::Caller;
use rockbot_scripts_api::{ScriptError, ScriptErrorCode};
use rockbot_telemetry::{KeyValue, semconv};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    args::Args,
    demand::{Bounds, Demand, Target},
    desk::{Counts, Desk, Full, Lack, Limits, PoolKey, Stock},
    metrics::{Metrics, Outcome},
    pace::Pace,
    pod::Pods,
};

use job::Slot;
pub(crate) use job::{Answer, Job, Work, lost};

/// Longest wait of a script for a sandbox. Clients give up after a minute.
const QUEUE_DEADLINE: Duration = Duration::from_secs(45);
/// How often waiting scripts and the pool's size are looked at although nothing changed.
const TICK: Duration = Duration::from_millis(500);

/// Parked sandboxes and waiting scripts.
pub(crate) struct Pool {
    desk: Mutex<Desk<Job, Slot>>,
    demand: Mutex<Demand>,
    pace: Mutex<Pace>,
    changed: Notify,
    pods: Pods,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    closed: CancellationToken,
    stop: CancellationToken,
    lives: TaskTracker,
    /// At about this age a parked sandbox is replaced.
    max_age: Duration,
}

/// How a pool ends: each is cancelled after the one before it.
#[derive(Clone, Default)]
pub(crate) struct Stages {
    /// It is not filled any more.
    pub(crate) draining: CancellationToken,
    /// No script comes any more, so that no parked sandbox is of use, while some still run.
    pub(crate) closed: CancellationToken,
    /// Everything ends.
    pub(crate) stop: CancellationToken,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(args: &Args, pods: Pods, metrics: Arc<Metrics>, stages: Stages) -> Arc<Self> {
        let Stages { draining, closed, stop } = stages;
        let limits = Limits {
            queue_size: args.queue_size,
            max_concurrent: args.max_concurrent,
            max_concurrent_per_agent: args.max_concurrent_per_agent,
        };
        let bounds = Bounds {
            min: args.pool_min,
            max: args.pool_max.max(args.pool_min),
        };
        let now = Instant::now();
        Arc::new(Self {
            desk: Mutex::new(Desk::new(limits)),
            demand: Mutex::new(Demand::new(bounds, now)),
            pace: Mutex::new(Pace::new(now)),
            changed: Notify::new(),
            pods,
            metrics,
            draining,
            closed,
            stop,
            lives: TaskTracker::new(),
            max_age: Duration::from_secs(args.pool_max_age_seconds),
        })
    }

    /// Runs a script for `caller`. Dropping the future ends the script.
    pub(crate) async fn run(&self, caller: &Caller, work: Work) -> Answer {
        let (reply, answer) = oneshot::channel();
        let now = Instant::now();
        let trace = work.trace.clone();
        self.demand().arrived(work.layer.as_ref(), now);
        let job = Job {
            caller: caller.clone(),
            work,
            queued: now,
            attempts: 0,
            reply,
        };
        let warm = self.desk().submit(job).map_err(|full| self.overloaded(full))?;
        if !warm {
            self.metrics.cold_starts.inc();
        }
        trace.record(|| vec![KeyValue::new(semconv::ROCKBOT_SCRIPT_COLD, !warm)]);
        self.dispatch();
        answer
            .await
            .unwrap_or_else(|_| Err(lost("the scripts manager stopped before the script's end")))
    }

    /// How many of each there are now.
    pub(crate) fn counts(&self) -> Counts {
        self.desk().counts()
    }

    /// The sandboxes of each key that has a target.
    pub(crate) fn stocks(&self) -> Vec<(PoolKey, Stock)> {
        self.desk().stocks()
    }

    /// How long it takes to replace a used sandbox.
    pub(crate) fn refill_time(&self) -> Duration {
        self.demand().refill_time()
    }

    /// Why sandboxes do not come, if they do not.
    pub(crate) fn problem(&self) -> Option<String> {
        self.pods.claims().problem().or_else(|| self.pace().problem())
    }

    /// Starts sandboxes whenever there are too few, and lets those go that are too many, until the end.
    pub(crate) async fn keep_full(self: Arc<Self>) {
        let mut targets = Vec::new();
        let mut next_tick = Instant::now();
        while !self.stop.is_cancelled() {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                targets = self.aim(now);
                self.give_up_after(self.patience());
            }
            let lack = self.lack();
            let start = self.pace().when(lack, now);
            if start.is_some_and(|start| start <= now) {
                self.start_one(lack, &targets);
                continue;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(start.unwrap_or(next_tick).min(next_tick)) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.give_up_after(Duration::ZERO);
    }

    /// How long a script may wait. A manager that is going and gets no sandboxes any more, because the next one's admission
    /// policy is in force, leaves it to that one at once.
    fn patience(&self) -> Duration {
        if self.draining.is_cancelled() && self.problem().is_some() {
            Duration::ZERO
        } else {
            QUEUE_DEADLINE
        }
    }

    /// Waits for the end of every sandbox, once nothing can start one.
    pub(crate) async fn ended(&self) {
        self.lives.close();
        self.lives.wait().await;
    }

    /// Sets the pool's size by what was needed lately. One sandbox that is too many goes at a time.
    fn aim(&self, now: Instant) -> Vec<Target> {
        let targets = match self.closed.is_cancelled() {
            true => Vec::new(),
            false => self.demand().targets(now),
        };
        let mut desk = self.desk();
        desk.aim(targets.iter().map(|target| (target.key(), target.count)).collect());
        let surplus = desk.surplus();
        drop(desk);
        // Its task sees that nobody can offer it a script any more.
        drop(surplus);
        targets
    }

    fn lack(&self) -> Lack {
        match self.desk().lack() {
            Lack::Spare { .. } if self.draining.is_cancelled() => Lack::Nothing,
            lack => lack,
        }
    }

    fn start_one(self: &Arc<Self>, lack: Lack, targets: &[Target]) {
        let wanted = match lack {
            Lack::Spare { key, .. } => targets.iter().find(|target| target.key() == key),
            Lack::Urgent | Lack::Nothing => None,
        };
        let layer = wanted.and_then(|target| target.layer.clone());
        let key = wanted.map(Target::key).unwrap_or_default();
        self.desk().starting(key);
        self.pace().started(Instant::now());
        self.lives.spawn(Arc::clone(self).live(layer, lack == Lack::Urgent));
    }

    /// A sandbox became ready after so long.
    fn succeeded(&self, key: PoolKey, took: Duration) {
        self.pace().succeeded();
        let mut demand = self.demand();
        demand.refilled(took);
        if let Some(layer) = key.packages {
            demand.succeeded(layer);
        }
    }

    /// A sandbox did not become ready, or did not stay so. Nobody's start waits for what packages do in theirs.
    fn failed(&self, key: PoolKey, why: String) {
        let now = Instant::now();
        match key.packages {
            None => self.pace().failed(now, why),
            Some(layer) => {
                self.demand().failed(layer, now);
                self.aim(now);
            }
        }
    }

    /// Gives waiting scripts to parked sandboxes; at the end, when nobody looks after them any more, tells them so.
    fn dispatch(&self) {
        if self.stop.is_cancelled() {
            return self.give_up_after(Duration::ZERO);
        }
        let mut desk = self.desk();
        while let Some((job, slot)) = desk.next_pair() {
            // A sandbox that ended while it was parked took nothing: the script goes to the next one.
            if let Err(job) = slot.offer.send(job) {
                desk.give_back(job);
            }
        }
        drop(desk);
        self.pace().active(Instant::now());
        self.changed.notify_one();
    }

    /// Answers the scripts that have waited for so long.
    fn give_up_after(&self, limit: Duration) {
        let expired = self.desk().expire(|job| job.queued.elapsed() > limit);
        for job in expired {
            self.metrics.count(Outcome::Unavailable);
            let _ = job.reply.send(Err(self.unavailable()));
        }
    }

    fn unavailable(&self) -> ScriptError {
        let why = match (self.stop.is_cancelled(), self.problem()) {
            (true, _) => "the scripts manager is stopping".to_owned(),
            (false, Some(problem)) => problem,
            (false, None) => "the cluster is busy".to_owned(),
        };
        let message = format!("no sandbox came in time: {why}");
        ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(5))
    }

    fn overloaded(&self, full: Full) -> ScriptError {
        self.metrics.count(Outcome::Overloaded);
        let message = match full {
            Full::Queue => "too many scripts are waiting for a sandbox; try again in a moment",
            Full::AgentsShare => "too many scripts of this agent are waiting; run fewer at the same time",
        };
        ScriptError::new(ScriptErrorCode::Overloaded, message).retryable(Some(2))
    }

    fn desk(&self) -> MutexGuard<'_, Desk<Job, Slot>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
