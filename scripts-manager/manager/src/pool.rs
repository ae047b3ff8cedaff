//! The pool: parked sandboxes, the scripts that wait for one, and the life of each sandbox from its start to its end.
//!
//! Each sandbox is one task. Between a request and its script there is one lock, one channel and one write.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::Rng;
use rockbot_identity::Caller;
use rockbot_sandbox::{Ending, MAX_OUTPUT_BYTES, Run};
use rockbot_scripts_api::{ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    args::Args,
    audit,
    desk::{Counts, Desk, Full, Lack, Limits, Parked, Waiting},
    metrics::{Metrics, Outcome},
    pace::Pace,
    pod::{Pods, Sandbox},
};

/// Longest wait of a script for a sandbox. Clients give up after a minute.
const QUEUE_DEADLINE: Duration = Duration::from_secs(45);
/// What a supervisor may take beyond the script's own time.
const MARGIN: Duration = Duration::from_secs(5);
/// A parked pod is replaced at about this age: load balancers and API servers close idle streams.
const MAX_AGE: Duration = Duration::from_secs(20 * 60);
/// A used pod is deleted this long after its script, so that a script right behind it has the CPU.
const TEARDOWN_DELAY: Duration = Duration::from_millis(50);
/// How often waiting scripts are looked at although nothing changed.
const TICK: Duration = Duration::from_millis(500);

/// What a caller is told.
type Answer = Result<ScriptResult, ScriptError>;

/// A script that waits for a sandbox.
pub(crate) struct Job {
    caller: Caller,
    run: Run,
    queued: Instant,
    reply: oneshot::Sender<Answer>,
}

/// A parked sandbox, as the desk sees it.
struct Slot {
    name: String,
    offer: oneshot::Sender<Job>,
}

/// Parked sandboxes and waiting scripts.
pub(crate) struct Pool {
    desk: Mutex<Desk<Job, Slot>>,
    pace: Mutex<Pace>,
    changed: Notify,
    pods: Pods,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    stop: CancellationToken,
    lives: TaskTracker,
}

impl Pool {
    /// An empty pool. `draining` ends its refilling, `stop` everything.
    pub(crate) fn new(
        args: &Args,
        pods: Pods,
        metrics: Arc<Metrics>,
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let limits = Limits {
            pool_size: args.pool_size,
            queue_size: args.queue_size,
            max_concurrent: args.max_concurrent,
            max_concurrent_per_agent: args.max_concurrent_per_agent,
        };
        Arc::new(Self {
            desk: Mutex::new(Desk::new(limits)),
            pace: Mutex::new(Pace::new(Instant::now())),
            changed: Notify::new(),
            pods,
            metrics,
            draining,
            stop,
            lives: TaskTracker::new(),
        })
    }

    /// Runs a script for `caller`. Dropping the future ends the script.
    pub(crate) async fn run(&self, caller: &Caller, request: &ScriptRequest) -> Answer {
        let (reply, answer) = oneshot::channel();
        let run = Run::new(request, MAX_OUTPUT_BYTES);
        let job = Job {
            caller: caller.clone(),
            run,
            queued: Instant::now(),
            reply,
        };
        let parked = {
            let mut desk = self.desk();
            desk.submit(job).map_err(|full| self.overloaded(full))?;
            desk.counts().parked
        };
        if parked == 0 {
            self.metrics.cold_starts.inc();
        }
        self.dispatch();
        answer
            .await
            .unwrap_or_else(|_| Err(lost("the scripts manager stopped before the script's end")))
    }

    /// How many of each there are now.
    pub(crate) fn counts(&self) -> Counts {
        self.desk().counts()
    }

    /// Starts sandboxes whenever there are too few, until the end.
    pub(crate) async fn keep_full(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let (lack, now) = (self.lack(), Instant::now());
            let start = self.pace().when(lack, now);
            if start.is_some_and(|start| start <= now) {
                self.start_one(lack == Lack::Urgent);
                continue;
            }
            let look_again = start.unwrap_or(now + TICK).min(now + TICK);
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(look_again) => {}
                () = self.stop.cancelled() => {}
            }
            self.give_up_after(QUEUE_DEADLINE);
        }
        self.give_up_after(Duration::ZERO);
    }

    /// Waits for the end of every sandbox, once nothing can start one.
    pub(crate) async fn ended(&self) {
        self.lives.close();
        self.lives.wait().await;
    }

    fn lack(&self) -> Lack {
        match self.desk().lack() {
            Lack::Spare if self.draining.is_cancelled() => Lack::Nothing,
            lack => lack,
        }
    }

    fn start_one(self: &Arc<Self>, hurry: bool) {
        self.desk().starting();
        self.pace().started(Instant::now());
        self.lives.spawn(Arc::clone(self).live(hurry));
    }

    /// Gives waiting scripts to parked sandboxes.
    fn dispatch(&self) {
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
        let why = match (
            self.stop.is_cancelled(),
            self.pods.problem().or_else(|| self.pace().problem()),
        ) {
            (true, _) => "the scripts manager is stopping".to_owned(),
            (false, Some(problem)) => problem,
            (false, None) => "the cluster is busy".to_owned(),
        };
        let message = format!("no sandbox came in time: {why}");
        ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(5))
    }

    /// The life of one sandbox.
    async fn live(self: Arc<Self>, hurry: bool) {
        let mut sandbox = match self.pods.start(hurry, &self.stop).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                self.metrics.start_failures.inc();
                tracing::warn!(%error, "a sandbox did not start");
                self.desk().start_failed();
                self.pace().failed(Instant::now(), error.to_string());
                self.changed.notify_one();
                return;
            }
        };
        self.pace().succeeded();
        if let Some(job) = self.park(&mut sandbox).await {
            self.serve(&mut sandbox, job).await;
            sleep(TEARDOWN_DELAY).await;
        }
        sandbox.delete().await;
    }

    /// Waits for a script; none comes when the sandbox ends before or is too old.
    async fn park(&self, sandbox: &mut Sandbox) -> Option<Job> {
        let (offer, mut accept) = oneshot::channel();
        self.desk().park(Slot {
            name: sandbox.name().to_owned(),
            offer,
        });
        self.dispatch();
        tokio::select! {
            biased;
            Ok(job) = &mut accept => return Some(job),
            error = sandbox.conversation.closed() => {
                tracing::warn!(pod = sandbox.name(), %error, "a parked sandbox ended");
                self.pace().failed(Instant::now(), format!("a parked sandbox ended: {error}"));
            }
            () = sleep(MAX_AGE.mul_f64(rand::rng().random_range(0.9..1.1))) => {}
            () = self.stop.cancelled() => {}
        }
        // The desk may have given it a script in this very moment. Not a byte of it was sent, so another one takes it.
        accept.close();
        let mut desk = self.desk();
        desk.withdraw(sandbox.name());
        if let Ok(job) = accept.try_recv() {
            desk.give_back(job);
        }
        drop(desk);
        self.dispatch();
        None
    }

    /// Runs the one script of a sandbox, answers, and only then does the rest.
    async fn serve(&self, sandbox: &mut Sandbox, mut job: Job) {
        let (queued, begin) = (job.queued.elapsed(), Instant::now());
        let limit = Duration::from_millis(job.run.timeout_ms) + MARGIN;
        let ending = tokio::select! {
            biased;
            ended = timeout(limit, sandbox.conversation.run(&job.run)) => match ended {
                Ok(ended) => ended.map_err(|error| lost(error.to_string())),
                Err(_) => Err(lost(format!("the sandbox did not answer within {limit:?}"))),
            },
            () = job.reply.closed() => Err(lost("its client went away")),
            () = self.stop.cancelled() => Err(lost("the scripts manager stopped before the script's end")),
        };
        let cancelled = job.reply.is_closed();
        let record = audit::Record::new(&job.caller, sandbox.name(), &ending, cancelled, queued, begin.elapsed());
        let pod = sandbox.name().to_owned();
        let _ = job.reply.send(ending.map(|ending: Ending| ending.into_result(pod)));
        self.desk().finished(&job.caller);
        self.dispatch();
        if record.completed()
            && let Err(error) = sandbox.conversation.acknowledge().await
        {
            tracing::debug!(pod = sandbox.name(), %error, "a sandbox did not wait for its acknowledgement");
        }
        record.write(&job.run.script, &self.metrics);
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

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting for Job {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

impl Parked for Slot {
    fn name(&self) -> &str {
        &self.name
    }
}

/// The script's fate is unknown: it may have run, wholly or in part.
fn lost(message: impl Into<String>) -> ScriptError {
    ScriptError::new(ScriptErrorCode::SandboxLost, message)
}
