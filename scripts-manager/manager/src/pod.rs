//! One script pod: created, attached to, greeted, prepared, deleted. Every call to the API server has a deadline.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use rand::Rng;
use rockbot_sandbox::{
    CONTAINER, Canary, Conversation, ConversationError, Ending, Exit, Hello, InstallerPodSettings, PodSettings, Shape,
    SupervisorSettings, USER_IDS, installer_pod, parked_pod,
};
use rockbot_scripts_api::ScriptError;
use rockbot_scripts_packages::Layer;
use thiserror::Error;
use tokio::{
    fs::File,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

#[cfg(test)]
use crate::attach::{Attachment, Socket};
use crate::{
    admission::Admission,
    args::Args,
    attach::{Pauses, Stdin, Stdout, attach},
    canary,
    claims::{Claim, Claims},
    desk::PoolKey,
    events::{Concern, Events},
    findings::Findings,
    leftovers::Facts,
    metrics::Metrics,
    pool::lost,
};

/// Longest call to the API server.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// From creation to the container's start: scheduling and pulling the image included.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long an installer of packages waits for room in the quota, and between two attempts.
const ROOM_DEADLINE: Duration = Duration::from_secs(30);
const ROOM_SPACING: Duration = Duration::from_secs(2);
/// Longest start of Python, on a busy node with a tenth of a CPU.
const GREET_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time in which packages are sent and unpacked, and imported when that is done beforehand.
const INSTALL_DEADLINE: Duration = Duration::from_secs(60);

/// The scripts namespace, as this manager uses it.
#[derive(Clone)]
pub(crate) struct Pods {
    shared: Arc<Shared>,
}

struct Shared {
    api: Api<Pod>,
    shape: Shape,
    instance: String,
    supervisor: SupervisorSettings,
    admission: Admission,
    require_network_policy: bool,
    events: Events,
    findings: Arc<Findings>,
    metrics: Arc<Metrics>,
    listed: AtomicBool,
    claims: Claims,
}

/// Why a sandbox could not be had.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("the API server refuses: {}", reason(.0))]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {CALL_DEADLINE:?}")]
    NoAnswer,
    #[error("its pod does not run after {START_DEADLINE:?}{problem}")]
    NotRunning { problem: String },
    #[error("its pod ended before it was ready")]
    Ended,
    #[error("its pod was evicted or deleted")]
    Evicted,
    #[error(
        "a pod of another shape would be let into the scripts namespace: its ValidatingAdmissionPolicy is missing or not in force \
         yet. The Helm chart has it; scripts.admissionPolicy.enabled=false goes without"
    )]
    Unguarded,
    #[error(
        "its pod could reach the network when it started: the NetworkPolicy of the scripts namespace is missing, or the \
         cluster does not enforce it. scripts.requireNetworkPolicy=false goes without"
    )]
    Exposed,
    #[error(
        "nobody knows whether its pod could reach the network when it started: the canary of this manager does not answer the \
         manager itself. scripts.requireNetworkPolicy=false goes without"
    )]
    Unproven,
    #[error("the supervisor was not ready within {GREET_DEADLINE:?}")]
    NotReady,
    #[error("the packages were not in place within {INSTALL_DEADLINE:?}")]
    NotInstalled,
    #[error("the packages cannot be read: {0}")]
    Layer(#[from] std::io::Error),
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error("the scripts manager is stopping")]
    Stopping,
}

/// A pod whose supervisor is ready for its one script.
pub(crate) struct Sandbox {
    pods: Pods,
    claim: Claim,
    key: PoolKey,
    /// Speaks with the supervisor.
    pub conversation: Greeted,
}

type Greeted = Conversation<Stdout, Stdin>;

impl Pods {
    pub(crate) fn new(client: Client, args: &Args, findings: Arc<Findings>, metrics: Arc<Metrics>) -> Self {
        let shared = Shared {
            api: Api::namespaced(client.clone(), &args.scripts_namespace),
            shape: args.shape(),
            instance: args.pod_name.clone(),
            supervisor: args.supervisor(),
            admission: Admission::new(args.require_admission_policy),
            require_network_policy: args.require_network_policy,
            events: Events::new(client, &args.pod_name),
            findings,
            metrics,
            listed: AtomicBool::new(false),
            claims: Claims::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn api(&self) -> Api<Pod> {
        self.shared.api.clone()
    }

    /// Makes a new pod and waits until its supervisor is ready, and has the packages of `layer`. Nothing is left of one that
    /// fails.
    ///
    /// In a `hurry`, because a script waits, attaching is tried before the kubelet has said that the container runs.
    pub(crate) async fn start(
        &self,
        layer: Option<&Layer>,
        hurry: bool,
        stop: &CancellationToken,
    ) -> Result<Sandbox, StartError> {
        let begin = Instant::now();
        let mut claim = self.shared.claims.claim("script");
        let started = tokio::select! {
            started = self.try_start(&mut claim, layer, hurry) => started,
            () = stop.cancelled() => Err(StartError::Stopping),
        };
        match started {
            Ok(conversation) => {
                self.shared.metrics.started(begin.elapsed());
                let (pod, walls) = (claim.name(), &conversation.ready().walls);
                tracing::debug!(pod, python = conversation.ready().python, ?walls, took = ?begin.elapsed(), "parked");
                let mut sandbox = Sandbox {
                    pods: self.clone(),
                    claim,
                    key: PoolKey::default(),
                    conversation,
                };
                if let Some(layer) = layer
                    && let Err(error) = sandbox.install(layer).await
                {
                    sandbox.delete().await;
                    return Err(error);
                }
                Ok(sandbox)
            }
            Err(error) => {
                self.delete(claim.name()).await;
                Err(error)
            }
        }
    }

    async fn try_start(&self, claim: &mut Claim, layer: Option<&Layer>, hurry: bool) -> Result<Greeted, StartError> {
        let supervisor = SupervisorSettings {
            preload: layer.map(|layer| layer.modules.clone()).unwrap_or_default(),
            ..self.shared.supervisor.clone()
        };
        let pod = parked_pod(&PodSettings {
            name: claim.name(),
            instance: &self.shared.instance,
            user_id: rand::rng().random_range(USER_IDS),
            shape: &self.shared.shape,
            supervisor: &supervisor,
        });
        self.shared.admission.prove(&self.shared.api, &pod).await?;
        let pod = call(self.shared.api.create(&PostParams::default(), &pod)).await?;
        let met = timeout(START_DEADLINE, self.meet(claim, hurry))
            .await
            .map_err(|_| claim.not_running())?;
        self.judge(&pod, met).await
    }

    /// Tells of a pod that is not what it should be, and refuses one that must not be used.
    async fn judge(&self, pod: &Pod, met: Result<Greeted, StartError>) -> Result<Greeted, StartError> {
        let shared = &self.shared;
        match met {
            Ok(conversation) => {
                let verdict = shared.findings.take_in(conversation.ready());
                if verdict == Canary::Reached {
                    shared
                        .events
                        .warn(pod, Concern::NetworkReached, &StartError::Exposed.to_string())
                        .await;
                }
                let required = shared.require_network_policy && shared.supervisor.canary.is_some();
                match unfit(verdict).filter(|_| required) {
                    Some(error) => Err(error),
                    None => Ok(conversation),
                }
            }
            Err(StartError::Conversation(error @ ConversationError::Refused { .. })) => {
                shared
                    .events
                    .warn(pod, Concern::SandboxRefused, &error.to_string())
                    .await;
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Attaches to the container as soon as it runs, and greets its supervisor.
    async fn meet(&self, claim: &mut Claim, hurry: bool) -> Result<Greeted, StartError> {
        claim
            .wait_for(|facts| facts.running || (hurry && facts.scheduled))
            .await?;
        let mut pauses = Pauses::new();
        loop {
            let running = claim.is_running();
            match self.greet(claim.name(), hurry).await {
                Ok(met) => return Ok(met),
                Err(error) if running || error.is_final() => return Err(error),
                // The kubelet tells of a container that runs up to a second later.
                Err(_) => {
                    if let Ok(arrived) = timeout(pauses.next(), claim.wait_for(|facts| facts.running)).await {
                        arrived?;
                    }
                }
            }
        }
    }

    async fn greet(&self, name: &str, hurry: bool) -> Result<Greeted, StartError> {
        let canary = match self.shared.supervisor.canary {
            Some(_) => canary::patience(hurry),
            None => Duration::ZERO,
        };
        let hello = Hello {
            canary_ms: canary.as_millis().try_into().unwrap_or(u64::MAX),
        };
        let (stdout, stdin) = self.attach(name, CONTAINER).await?;
        Ok(timeout(GREET_DEADLINE, Conversation::open(stdout, stdin, hello))
            .await
            .map_err(|_| StartError::NotReady)??)
    }

    /// Makes the pod of `claim`, for packages, and waits until it runs.
    pub(crate) async fn start_installer(&self, claim: &mut Claim) -> Result<(), StartError> {
        let pod = installer_pod(&InstallerPodSettings {
            name: claim.name(),
            instance: &self.shared.instance,
            user_id: rand::rng().random_range(USER_IDS),
            shape: &self.shared.shape,
        });
        self.shared.admission.prove(&self.shared.api, &pod).await?;
        self.create_with_patience(&pod).await?;
        timeout(START_DEADLINE, claim.wait_for(|facts| facts.running))
            .await
            .map_err(|_| claim.not_running())?
    }

    /// Makes a pod as soon as the namespace's quota has room for it: pods of scripts that have ended still count for a moment.
    /// Nothing waits for whoever waits here but the scripts that need these packages.
    async fn create_with_patience(&self, pod: &Pod) -> Result<(), StartError> {
        let begin = Instant::now();
        loop {
            match call(self.shared.api.create(&PostParams::default(), pod)).await {
                Err(error) if error.is_for_want_of_room() && begin.elapsed() < ROOM_DEADLINE => {
                    tracing::warn!(%error, "an installer of packages waits for room");
                    let jitter = rand::rng().random_range(0.8..1.2);
                    sleep(ROOM_SPACING.mul_f64(jitter)).await;
                }
                made => return made.map(drop),
            }
        }
    }

    /// Stdin and stdout of a pod's container.
    pub(crate) async fn attach(&self, name: &str, container: &str) -> Result<(Stdout, Stdin), StartError> {
        call(attach(&self.shared.api, name, container)).await
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

    /// Whether the admission policy of the namespace was seen to refuse another pod.
    pub(crate) fn are_guarded(&self) -> bool {
        self.shared.admission.is_proved()
    }

    /// The pods that this process takes care of.
    pub(crate) fn claims(&self) -> &Claims {
        &self.shared.claims
    }

    /// Of these pods, those that nobody will use or delete.
    pub(crate) fn leftovers<'a>(&self, seen: &'a HashMap<String, Facts>, now: i64) -> Vec<&'a str> {
        self.shared.claims.leftovers(seen, &self.shared.instance, now)
    }
}

impl Sandbox {
    /// Name of the pod.
    pub(crate) fn name(&self) -> &str {
        self.claim.name()
    }

    /// What it has.
    pub(crate) fn key(&self) -> PoolKey {
        self.key
    }

    /// Returns with the reason when the sandbox can no longer be used.
    pub(crate) async fn lost(&mut self) -> StartError {
        tokio::select! {
            error = self.conversation.closed() => error.into(),
            () = self.claim.over() => StartError::Evicted,
        }
    }

    /// What is known of a script that was running for so long when its sandbox was lost. One that used up the memory of its
    /// pod did that itself, whoever else the kernel killed with it.
    pub(crate) async fn post_mortem(
        &mut self,
        error: &ConversationError,
        ran: Duration,
    ) -> Result<Ending, ScriptError> {
        let Facts {
            cause, out_of_memory, ..
        } = self.claim.verdict().await;
        let silent = matches!(error, ConversationError::Closed | ConversationError::Io(_));
        if silent && out_of_memory {
            let exit = Exit::out_of_memory(ran);
            return Ok(Ending {
                exit,
                ..self.conversation.unfinished()
            });
        }
        Err(lost(match cause {
            Some(cause) => format!("{error}; of its pod Kubernetes says: {cause}"),
            None => error.to_string(),
        }))
    }

    /// Has packages unpacked. After an error the sandbox is good for nothing.
    pub(crate) async fn install(&mut self, layer: &Layer) -> Result<(), StartError> {
        let archive = File::open(&layer.path).await?;
        let done = timeout(INSTALL_DEADLINE, self.conversation.install(archive))
            .await
            .map_err(|_| StartError::NotInstalled)??;
        tracing::debug!(pod = self.name(), layer = %layer.id, files = done.files, bytes = done.bytes, "packages are in place");
        self.key = PoolKey {
            packages: Some(layer.id),
        };
        Ok(())
    }

    /// Deletes the pod.
    pub(crate) async fn delete(self) {
        self.pods.delete(self.claim.name()).await;
    }
}

impl StartError {
    /// Whether the namespace has as many pods as its quota lets it have.
    fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 403 && status.message.contains("exceeded quota"))
    }

    /// Whether another attempt to attach to the same pod is pointless.
    fn is_final(&self) -> bool {
        matches!(self, Self::Conversation(ConversationError::Refused { .. }))
    }
}

/// Why a pod must not be used where the wall around it has to be proved.
fn unfit(verdict: Canary) -> Option<StartError> {
    match verdict {
        Canary::Blocked => None,
        Canary::Reached => Some(StartError::Exposed),
        Canary::Unknown => Some(StartError::Unproven),
    }
}

/// What the API server says, without everything else that it answers.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

pub(crate) async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, StartError> {
    Ok(timeout(CALL_DEADLINE, request)
        .await
        .map_err(|_| StartError::NoAnswer)??)
}

#[cfg(test)]
impl Pods {
    /// A sandbox at the other end of `socket`, which answers.
    pub(crate) async fn sandbox_over(&self, socket: impl Socket + 'static) -> Sandbox {
        let (stdout, stdin) = tokio::io::split(Attachment::over(socket));
        Sandbox {
            pods: self.clone(),
            claim: self.shared.claims.claim("script"),
            key: PoolKey::default(),
            conversation: Conversation::open(stdout, stdin, Hello::default()).await.unwrap(),
        }
    }
}
