//! Hooks: what skills do at the eight moments of a request, and what they may change there.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use rockbot_llm::chat::Message;
use rockbot_telemetry::TraceContext;
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::{Instrument, warn};

use super::{HandoffResult, Present};
use crate::{
    Context, ToolResult,
    scope::Scope,
    tools::{ToolInvokeRequest, panic_message},
    turn::Delta,
};

/// How long the hooks that finalise a connection may take together; nothing else bounds them.
const FINALIZE_DEADLINE: Duration = Duration::from_secs(30);

/// The moments of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEvent {
    /// A request begins; nothing else has happened.
    OnConnection,
    /// A piece of the answer is about to go to the client.
    OnChunk,
    /// The model has said a whole message.
    OnMessage,
    /// A tool is about to run.
    BeforeToolcall,
    /// A tool has run.
    AfterToolcall,
    /// A handoff is about to happen.
    BeforeHandoff,
    /// A handoff has happened.
    AfterHandoff,
    /// The request is over, however it ended. Comes exactly once.
    FinalizeConnection,
}

/// What a hook sees of its moment, and may change.
#[derive(Debug)]
pub enum Occasion<'a> {
    /// See [`HookEvent::OnConnection`].
    Connection,
    /// What the client is about to read.
    Chunk(&'a mut Delta),
    /// What the model has said. Much of it is with the client already, so it cannot be changed any more.
    Message(&'a Message),
    /// The call; its identity stays what it is.
    BeforeToolcall(&'a mut ToolInvokeRequest),
    /// What the model is about to read.
    AfterToolcall(&'a mut ToolResult),
    /// The handoff, as the call of a tool.
    BeforeHandoff(&'a mut ToolInvokeRequest),
    /// What became of it.
    AfterHandoff(&'a mut HandoffResult),
    /// See [`HookEvent::FinalizeConnection`].
    Finalize,
}

/// Runs a hook, or says why it could not.
pub type HookFn = Arc<dyn for<'a> Fn(Context, Occasion<'a>) -> BoxFuture<'a, Result<(), HookFailure>> + Send + Sync>;

/// Why a hook did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HookFailure {
    /// It does not want this to happen.
    #[error("{0}")]
    Refused(String),
    /// It could not do its work.
    #[error("{0}")]
    Failed(String),
}

/// A hook that had to succeed and did not: what it is about does not happen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the hook {hook:?}, which has to succeed, did not: {failure}")]
pub struct Stopped {
    /// Name of the hook.
    pub hook: String,
    /// Why.
    pub failure: HookFailure,
}

/// Something that a skill does at one of the moments.
pub struct Hook {
    /// Name, for the log.
    pub name: String,
    /// The skill it belongs to; set when the skill is added.
    pub skill: String,
    /// When it runs.
    pub event: HookEvent,
    /// The higher runs first.
    pub priority: i32,
    /// For whose requests it runs.
    pub scope: Scope,
    /// Whether what it is about fails with it. Otherwise a failure is logged, and the next hook runs.
    pub must_succeed: bool,
    /// Runs it.
    pub run: HookFn,
}

impl Occasion<'_> {
    fn event(&self) -> HookEvent {
        match self {
            Self::Connection => HookEvent::OnConnection,
            Self::Chunk(_) => HookEvent::OnChunk,
            Self::Message(_) => HookEvent::OnMessage,
            Self::BeforeToolcall(_) => HookEvent::BeforeToolcall,
            Self::AfterToolcall(_) => HookEvent::AfterToolcall,
            Self::BeforeHandoff(_) => HookEvent::BeforeHandoff,
            Self::AfterHandoff(_) => HookEvent::AfterHandoff,
            Self::Finalize => HookEvent::FinalizeConnection,
        }
    }

    /// The same occasion for one of several hooks.
    fn lend(&mut self) -> Occasion<'_> {
        match self {
            Self::Connection => Occasion::Connection,
            Self::Chunk(chunk) => Occasion::Chunk(chunk),
            Self::Message(message) => Occasion::Message(message),
            Self::BeforeToolcall(call) => Occasion::BeforeToolcall(call),
            Self::AfterToolcall(result) => Occasion::AfterToolcall(result),
            Self::BeforeHandoff(call) => Occasion::BeforeHandoff(call),
            Self::AfterHandoff(result) => Occasion::AfterHandoff(result),
            Self::Finalize => Occasion::Finalize,
        }
    }
}

/// The hooks of one request.
#[derive(Clone)]
pub(crate) struct Hooks {
    present: Arc<Present>,
    context: Context,
}

impl Hooks {
    pub(crate) fn new(present: Arc<Present>, context: Context) -> Self {
        Self { present, context }
    }

    /// Runs the hooks for `occasion`, one after the other. One that fails is logged, and the next one runs.
    ///
    /// # Errors
    /// When one that must succeed fails; the others do not run any more.
    pub(crate) async fn run(&self, mut occasion: Occasion<'_>) -> Result<(), Stopped> {
        for hook in self.present.hooks(occasion.event()) {
            if !hook.scope.admits(&self.context.scope) {
                continue;
            }
            let ran = AssertUnwindSafe((hook.run)(self.context.clone(), occasion.lend()))
                .catch_unwind()
                .await;
            let Err(failure) = ran.unwrap_or_else(|panic| Err(HookFailure::Failed(panic_message(&*panic)))) else {
                continue;
            };
            warn!(skill = hook.skill, hook = hook.name, "a hook failed: {failure}");
            if hook.must_succeed {
                let hook = hook.name.clone();
                return Err(Stopped { hook, failure });
            }
        }
        Ok(())
    }
}

/// Runs the hooks that finalise a request, exactly once: when it is told to, or when its request is dropped.
pub(crate) struct Finalizer(Option<Hooks>);

impl Finalizer {
    pub(crate) fn new(hooks: &Hooks) -> Self {
        let wanted = !hooks.present.hooks(HookEvent::FinalizeConnection).is_empty();
        Self(wanted.then(|| hooks.clone()))
    }

    /// Runs them and waits for them. Who stops to wait does not stop them.
    pub(crate) async fn run(&mut self) {
        if let Some(Err(error)) = futures::future::OptionFuture::from(self.start()).await {
            warn!("the hooks that finalise a request broke off: {error}");
        }
    }

    /// A task of their own, because the request's may be gone.
    fn start(&mut self) -> Option<JoinHandle<()>> {
        let hooks = self.0.take()?;
        let run = async move {
            let run = hooks.run(Occasion::Finalize);
            match tokio::time::timeout(FINALIZE_DEADLINE, run).await {
                // There is nothing left that could be stopped.
                Ok(Ok(()) | Err(_)) => {}
                Err(_) => warn!(
                    "the hooks that finalise a request took longer than {} s",
                    FINALIZE_DEADLINE.as_secs()
                ),
            }
        };
        Some(tokio::spawn(TraceContext::current().run(run).in_current_span()))
    }
}

impl Drop for Finalizer {
    fn drop(&mut self) {
        self.start();
    }
}
