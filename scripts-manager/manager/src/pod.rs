//! One script pod: created, attached to, greeted, deleted. Every call to the API server has a deadline.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{AttachParams, AttachedProcess, DeleteParams, PostParams},
};
use rand::Rng;
use rockbot_sandbox::{CONTAINER, Conversation, ConversationError, PodSettings, Seccomp, USER_IDS, parked_pod};
use thiserror::Error;
use tokio::{
    io::{ReadHalf, SimplexStream, WriteHalf},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{args::Args, leftovers::Facts, metrics::Metrics};

/// Longest call to the API server.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// From creation to the container's start: scheduling and pulling the image included.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Between two attempts to attach before the container is known to run.
const ATTACH_SPACING: Duration = Duration::from_millis(75);
/// Longest start of Python, on a busy node with a tenth of a CPU.
const GREET_DEADLINE: Duration = Duration::from_secs(30);
/// What a stream may hold between the WebSocket and us.
const STREAM_BUFFER: usize = 64 << 10;

/// The scripts namespace, as this manager uses it.
#[derive(Clone)]
pub(crate) struct Pods {
    shared: Arc<Shared>,
}

struct Shared {
    api: Api<Pod>,
    image: String,
    instance: String,
    seccomp: Seccomp,
    metrics: Arc<Metrics>,
    listed: AtomicBool,
    /// Pods that a task of this process starts, holds or deletes, and what the watch says of each.
    mine: Mutex<HashMap<String, watch::Sender<Facts>>>,
}

/// Why a sandbox could not be had.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("the API server refuses: {0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {CALL_DEADLINE:?}")]
    NoAnswer,
    #[error("its pod does not run after {START_DEADLINE:?}{problem}")]
    NotRunning { problem: String },
    #[error("its pod ended before it was ready")]
    Ended,
    #[error("its pod was attached to without streams")]
    NoStreams,
    #[error("the supervisor was not ready within {GREET_DEADLINE:?}")]
    NotReady,
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error("the scripts manager is stopping")]
    Stopping,
}

/// A pod whose supervisor is ready for its one script.
pub(crate) struct Sandbox {
    pods: Pods,
    claim: Claim,
    /// Speaks with the supervisor.
    pub conversation: Attached,
    /// Keeps the WebSocket open.
    _attached: AttachedProcess,
}

type Attached = Conversation<ReadHalf<SimplexStream>, WriteHalf<SimplexStream>>;

/// A name in [`Shared::mine`], for as long as somebody takes care of the pod.
struct Claim {
    shared: Arc<Shared>,
    name: String,
    facts: watch::Receiver<Facts>,
}

impl Pods {
    pub(crate) fn new(client: Client, args: &Args, metrics: Arc<Metrics>) -> Self {
        let shared = Shared {
            api: Api::namespaced(client, &args.scripts_namespace),
            image: args.image.clone(),
            instance: args.pod_name.clone(),
            seccomp: args.seccomp(),
            metrics,
            listed: AtomicBool::new(false),
            mine: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn api(&self) -> Api<Pod> {
        self.shared.api.clone()
    }

    /// Makes a new pod and waits until its supervisor is ready. Nothing is left of one that fails.
    ///
    /// In a `hurry`, because a script waits, attaching is tried before the kubelet has said that the container runs.
    pub(crate) async fn start(&self, hurry: bool, stop: &CancellationToken) -> Result<Sandbox, StartError> {
        let begin = Instant::now();
        let mut claim = self.claim();
        let started = tokio::select! {
            started = self.try_start(&mut claim, hurry) => started,
            () = stop.cancelled() => Err(StartError::Stopping),
        };
        match started {
            Ok((attached, conversation)) => {
                self.shared.metrics.started(begin.elapsed());
                let (pod, walls) = (&claim.name, &conversation.ready().walls);
                tracing::debug!(pod, python = conversation.ready().python, ?walls, took = ?begin.elapsed(), "parked");
                Ok(Sandbox {
                    pods: self.clone(),
                    claim,
                    conversation,
                    _attached: attached,
                })
            }
            Err(error) => {
                self.delete(&claim.name).await;
                Err(error)
            }
        }
    }

    async fn try_start(&self, claim: &mut Claim, hurry: bool) -> Result<(AttachedProcess, Attached), StartError> {
        let pod = parked_pod(&PodSettings {
            name: &claim.name,
            image: &self.shared.image,
            instance: &self.shared.instance,
            user_id: rand::rng().random_range(USER_IDS),
            seccomp: self.shared.seccomp,
        });
        call(self.shared.api.create(&PostParams::default(), &pod)).await?;
        timeout(START_DEADLINE, self.meet(claim, hurry))
            .await
            .map_err(|_| claim.not_running())?
    }

    /// Attaches to the container as soon as it runs, and greets its supervisor.
    async fn meet(&self, claim: &mut Claim, hurry: bool) -> Result<(AttachedProcess, Attached), StartError> {
        claim
            .wait_for(|facts| facts.running || (hurry && facts.scheduled))
            .await?;
        loop {
            let running = claim.is_running();
            match self.greet(&claim.name).await {
                Ok(met) => return Ok(met),
                Err(error) if running => return Err(error),
                // The kubelet tells of a container that runs up to a second later.
                Err(_) => {
                    if let Ok(arrived) = timeout(ATTACH_SPACING, claim.wait_for(|facts| facts.running)).await {
                        arrived?;
                    }
                }
            }
        }
    }

    async fn greet(&self, name: &str) -> Result<(AttachedProcess, Attached), StartError> {
        let streams = AttachParams::default()
            .container(CONTAINER)
            .stdin(true)
            .stderr(false)
            .max_stdin_buf_size(STREAM_BUFFER)
            .max_stdout_buf_size(STREAM_BUFFER);
        let mut attached = call(self.shared.api.attach(name, &streams)).await?;
        let (Some(stdin), Some(stdout)) = (attached.stdin(), attached.stdout()) else {
            return Err(StartError::NoStreams);
        };
        let conversation = timeout(GREET_DEADLINE, Conversation::open(stdout, stdin))
            .await
            .map_err(|_| StartError::NotReady)??;
        Ok((attached, conversation))
    }

    /// Deletes a pod, once. One that stays is a leftover, and swept.
    pub(crate) async fn delete(&self, name: &str) {
        // Zero would remove the object while the container runs on; one second kills it first.
        match call(self.shared.api.delete(name, &DeleteParams::default().grace_period(1))).await {
            Ok(_) => {}
            Err(StartError::Api(kube::Error::Api(status))) if status.code == 404 => {}
            Err(error) => tracing::warn!(pod = name, %error, "a pod could not be deleted; the sweep will try again"),
        }
    }

    /// The watch has a first complete list: the API server is there, and lets us list.
    pub(crate) fn listed(&self) {
        self.shared.listed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn are_listed(&self) -> bool {
        self.shared.listed.load(Ordering::Relaxed)
    }

    /// Takes in what the watch says about a pod.
    pub(crate) fn note(&self, name: &str, facts: &Facts) {
        if let Some(known) = self.mine().get(name) {
            known.send_if_modified(|before| {
                let changed = before != facts;
                before.clone_from(facts);
                changed
            });
        }
    }

    /// Of these pods, those that nobody will use or delete.
    pub(crate) fn leftovers<'a>(&self, seen: &'a HashMap<String, Facts>, now: i64) -> Vec<&'a str> {
        let mine = self.mine();
        seen.iter()
            .filter(|(name, facts)| !mine.contains_key(*name) && facts.is_leftover(&self.shared.instance, now))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Why a pod does not run yet, when the kubelet or the scheduler has said so of any.
    pub(crate) fn problem(&self) -> Option<String> {
        self.mine().values().find_map(|facts| facts.borrow().problem.clone())
    }

    fn claim(&self) -> Claim {
        let name = format!("script-{:016x}", rand::random::<u64>());
        let (sender, facts) = watch::channel(Facts::default());
        self.mine().insert(name.clone(), sender);
        Claim {
            shared: Arc::clone(&self.shared),
            name,
            facts,
        }
    }

    fn mine(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Facts>>> {
        self.shared.mine()
    }
}

impl Shared {
    fn mine(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Facts>>> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox {
    /// Name of the pod.
    pub(crate) fn name(&self) -> &str {
        &self.claim.name
    }

    /// Deletes the pod.
    pub(crate) async fn delete(self) {
        self.pods.delete(&self.claim.name).await;
    }
}

impl Claim {
    async fn wait_for(&mut self, arrived: impl Fn(&Facts) -> bool) -> Result<(), StartError> {
        match self.facts.wait_for(|facts| arrived(facts) || facts.is_over()).await {
            Ok(facts) if !facts.is_over() => Ok(()),
            _ => Err(StartError::Ended),
        }
    }

    fn is_running(&self) -> bool {
        self.facts.borrow().running
    }

    fn not_running(&self) -> StartError {
        let problem = self
            .facts
            .borrow()
            .problem
            .as_ref()
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        StartError::NotRunning { problem }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.mine().remove(&self.name);
    }
}

async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, StartError> {
    Ok(timeout(CALL_DEADLINE, request)
        .await
        .map_err(|_| StartError::NoAnswer)??)
}
