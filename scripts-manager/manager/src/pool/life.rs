//! The life of one sandbox: started, parked, given one script at most, deleted.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use rand::Rng;
use rockbot_sandbox::{ConversationError, Ending, Relay};
use rockbot_scripts_api::{ScriptError, ScriptErrorCode};
use rockbot_scripts_packages::Layer;
use tokio::{
    sync::oneshot,
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Pool,
    job::{Job, Slot, Work, lost},
};
use crate::{
    audit,
    desk::{PoolKey, Waiting},
    metrics::Outcome,
    pod::{Sandbox, StartError},
};

/// What a supervisor may take beyond the script's own time.
const MARGIN: Duration = Duration::from_secs(5);
/// Longest time to tell a supervisor that its output has arrived.
const ACK_DEADLINE: Duration = Duration::from_secs(1);
/// Sandboxes that may be lost while packages are unpacked in them.
const MAX_ATTEMPTS: u32 = 3;

impl Pool {
    /// The whole life.
    pub(super) async fn live(self: Arc<Self>, layer: Option<Arc<Layer>>, hurry: bool) {
        let begin = Instant::now();
        let key = PoolKey {
            packages: layer.as_ref().map(|layer| layer.id),
        };
        let mut sandbox = match self.pods.start(layer.as_deref(), hurry, &self.stop).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                self.metrics.start_failures.inc();
                tracing::warn!(%error, packages = layer.map(|layer| layer.modules.join(",")), "a sandbox did not start");
                self.desk().start_failed(key);
                self.failed(key, error.to_string());
                self.changed.notify_one();
                return;
            }
        };
        // Its packages are in place, so the cache may drop their archive.
        drop(layer);
        self.succeeded(key, begin.elapsed());
        if let Some(job) = self.park(&mut sandbox).await {
            self.use_up(&mut sandbox, job).await;
        }
        sandbox.delete().await;
    }

    /// Waits for a script; none comes when the sandbox ends before, is too old or one too many.
    async fn park(&self, sandbox: &mut Sandbox) -> Option<Job> {
        let (offer, mut accept) = oneshot::channel();
        self.desk().park(Slot {
            name: sandbox.name().to_owned(),
            key: sandbox.key(),
            offer,
        });
        self.dispatch();
        tokio::select! {
            biased;
            offered = &mut accept => return offered.ok(),
            error = sandbox.lost() => {
                tracing::warn!(pod = sandbox.name(), %error, "a parked sandbox ended");
                self.failed(sandbox.key(), format!("a parked sandbox ended: {error}"));
            }
            () = sleep(self.max_age.mul_f64(rand::rng().random_range(0.9..1.1))) => {}
            () = self.stop.cancelled() => {}
        }
        // The desk may have given it a script in this very moment. Not a byte of it was sent, so another one takes it.
        accept.close();
        self.desk().withdraw(sandbox.name());
        if let Ok(job) = accept.try_recv() {
            self.desk().give_back(job);
        }
        self.dispatch();
        None
    }

    /// Runs the one script of a sandbox, unless the sandbox is lost before it got anything of it.
    async fn use_up(&self, sandbox: &mut Sandbox, mut job: Job) {
        if let Some(error) = sandbox.lost().now_or_never() {
            tracing::warn!(pod = sandbox.name(), %error, "a sandbox had ended when a script came for it");
            // No attempt: nothing was tried, and one sandbox less is parked.
            self.desk().give_back(job);
            return self.dispatch();
        }
        let ready = tokio::select! {
            biased;
            ready = prepare(sandbox, job.work.layer.as_deref()) => ready,
            () = job.reply.closed() => {
                let (gone, queued) = (Err(lost("its client went away before it began")), job.queued.elapsed());
                self.conclude(sandbox.name(), job, gone, queued, Duration::ZERO).await;
                return;
            }
            () = self.stop.cancelled() => Err(StartError::Stopping),
        };
        match ready {
            Ok(()) => {
                job.work.layer = None;
                self.serve(sandbox, job).await;
            }
            Err(StartError::Conversation(ConversationError::Refused { reason })) => self.refuse(job, &reason),
            Err(error) => {
                tracing::warn!(pod = sandbox.name(), %error, "a sandbox was lost before it got its script");
                self.try_again(job);
                self.dispatch();
            }
        }
    }

    /// Runs the script, answers, and only then does the rest.
    async fn serve(&self, sandbox: &mut Sandbox, mut job: Job) {
        let (queued, begin) = (job.queued.elapsed(), Instant::now());
        let ended = run(sandbox, &job.work, begin);
        let ending = tokio::select! {
            biased;
            ending = ended => ending,
            () = job.reply.closed() => Err(lost("its client went away")),
            () = self.stop.cancelled() => Err(lost("the scripts manager stopped before the script's end")),
        };
        let completed = ending.is_ok();
        self.conclude(sandbox.name(), job, ending, queued, begin.elapsed())
            .await;
        self.await_quiet().await;
        if completed {
            // It would go without, a little later.
            let _ = timeout(ACK_DEADLINE, sandbox.conversation.acknowledge()).await;
        }
    }

    /// Answers, and only then tells everybody else that a script has ended.
    async fn conclude(
        &self,
        pod: &str,
        job: Job,
        ending: Result<Ending, ScriptError>,
        queued: Duration,
        took: Duration,
    ) {
        let record = audit::Record::new(&job, pod, &ending, queued, took);
        // The span ends with the answer.
        job.work.trace.record(|| record.attributes());
        let Job {
            caller, work, reply, ..
        } = job;
        self.desk().finished(&caller);
        // Whoever reads the output as it comes sees its end, and then the answer.
        drop(work.output);
        let _ = reply.send(ending.map(|ending: Ending| ending.into_result(pod.to_owned())));
        yield_now().await;
        self.dispatch();
        record.write(&work.run.script, &self.metrics);
    }

    /// Puts a script back to the head of the queue, if that did not happen too often.
    fn try_again(&self, mut job: Job) {
        job.attempts += 1;
        if job.attempts < MAX_ATTEMPTS {
            return self.desk().give_back(job);
        }
        self.desk().finished(job.caller());
        self.metrics.count(Outcome::Unavailable);
        let _ = job.reply.send(Err(self.unavailable()));
    }

    /// The supervisor does not take the packages; no other one will.
    fn refuse(&self, job: Job, reason: &str) {
        self.desk().finished(job.caller());
        self.metrics.count(Outcome::Refused);
        let message = format!("pip_packages: they cannot be unpacked in a sandbox: {reason}");
        let _ = job
            .reply
            .send(Err(ScriptError::new(ScriptErrorCode::PackagesRefused, message)));
        self.dispatch();
    }

    /// Waits until the end of a sandbox is in nobody's way, for a moment at most: a container's end keeps its node busy.
    async fn await_quiet(&self) {
        let ended = Instant::now();
        loop {
            let start = self.pace().when_to_delete(ended);
            if start <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(start) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }
}

/// Runs the script, and finds out why when its end does not come.
async fn run(sandbox: &mut Sandbox, work: &Work, begin: Instant) -> Result<Ending, ScriptError> {
    let limit = Duration::from_millis(work.run.timeout_ms) + MARGIN;
    // Of what was not passed on when it ends, its result has the rest.
    let mut relay = Relay::new(work.output.as_ref());
    match timeout(limit, sandbox.conversation.run(&work.run, &mut relay)).await {
        Ok(Ok(ending)) => Ok(ending),
        Ok(Err(error)) => sandbox.post_mortem(&error, begin.elapsed()).await,
        Err(_) => Err(lost(format!("the sandbox did not answer within {limit:?}"))),
    }
}

/// Sees to it that a sandbox has the packages of the script.
async fn prepare(sandbox: &mut Sandbox, layer: Option<&Layer>) -> Result<(), StartError> {
    match layer {
        Some(layer) if sandbox.key().packages != Some(layer.id) => sandbox.install(layer).await,
        _ => Ok(()),
    }
}
