//! Drives reconciles: who runs when, how long, and what happens after a failure.

mod agent;
mod mcp_server;
mod unreadable;

use std::{convert::Infallible, error::Error as _, future::Future, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::runtime::{
    controller::{Action, Config, Error as ControllerError, applier},
    reflector::ObjectRef,
};
use rockbot_operator_plan::Outcome;
use thiserror::Error;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    apply::ApplyError,
    context::Context,
    object::Object,
    queue::Queue,
    watches::{Parent, Queues},
};

/// Reconciles of one kind that run at the same time.
const CONCURRENCY: u16 = 16;
/// Time that one reconcile may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a reconcile is to be tried again.
#[derive(Debug, Error)]
pub(crate) enum ReconcileError {
    #[error("cannot apply the children")]
    Apply(#[from] ApplyError),
    #[error("cannot write the status")]
    Status(#[from] Box<kube::Error>),
    #[error("a child is not as it should be; the status says why")]
    Unapplied,
    #[error("no end within {} s", DEADLINE.as_secs())]
    Late,
}

type Failure = ControllerError<ReconcileError, Infallible>;

impl ReconcileError {
    /// A label of metrics.
    fn category(&self) -> &'static str {
        match self {
            Self::Apply(_) => "apply_failed",
            Self::Status(_) => "status_failed",
            Self::Unapplied => "unapplied",
            Self::Late => "late",
        }
    }
}

/// Reconciles everything until `stop`; then what runs is finished.
pub(crate) async fn all(context: Arc<Context>, queues: &Queues, stop: &CancellationToken) {
    let agents = drive(&context, &queues.agents, stop, agent::reconcile);
    let servers = drive(&context, &queues.mcp_servers, stop, mcp_server::reconcile);
    tokio::join!(agents, servers);
}

async fn drive<K, F>(
    context: &Arc<Context>,
    queue: &Arc<Queue<Object<K>>>,
    stop: &CancellationToken,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
) where
    K: Parent,
    F: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
{
    let requests = Arc::clone(queue)
        .stream()
        .take_until(stop.clone().cancelled_owned())
        .map(Ok::<_, Infallible>);
    let store = K::store(&context.shared.stores).clone();
    let config = Config::default().concurrency(CONCURRENCY);
    let bounded = move |object, context| Box::pin(bounded(object, context, reconcile));
    let try_again =
        |object: Arc<Object<K>>, error: &ReconcileError, context: Arc<Context>| try_again(&*object, error, &context);
    applier(bounded, try_again, Arc::clone(context), store, requests, config)
        .for_each(async |result| forget_the_gone(context, result))
        .await;
}

/// One reconcile, with a deadline and its metrics.
async fn bounded<K, F>(
    object: Arc<Object<K>>,
    context: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
) -> Result<Action, ReconcileError>
where
    K: Parent,
    F: Future<Output = Result<Action, ReconcileError>>,
{
    let start = Instant::now();
    let key = ObjectRef::from_obj(&*object).erase();
    let work = async {
        match &*object {
            Object::Readable(object) => reconcile(Arc::clone(object), Arc::clone(&context)).await,
            Object::Unreadable(reason) => unreadable::reconcile(&object, reason, Arc::clone(&context)).await,
        }
    };
    let result = match timeout(DEADLINE, work).await {
        // The object goes with its namespace: nothing is left to be done, or to be told.
        Ok(Err(ReconcileError::Apply(ApplyError::Ending))) => Ok(Action::await_change()),
        Ok(result) => result,
        Err(_) => Err(ReconcileError::Late),
    };
    if result.is_ok() {
        context.failures.clear(&key);
    }
    let label = result.as_ref().map_or_else(ReconcileError::category, |_| "ok");
    context.shared.metrics.reconciled(&K::kind(&()), label, start.elapsed());
    result
}

fn try_again<K: Parent>(object: &Object<K>, error: &ReconcileError, context: &Context) -> Action {
    let key = ObjectRef::from_obj(object).erase();
    let cause = error.source();
    let pause = context.failures.add(key.clone());
    warn!(object = %key, cause, retry_in = ?pause, "{error}");
    Action::requeue(pause)
}

/// When to look again at a resource whose status was written. What a person has to mend may be mended where no watch sees
/// it, so it is tried again, too; an invalid spec can only be mended in the resource itself.
fn next(outcome: &Outcome, again: Option<Duration>) -> Result<Action, ReconcileError> {
    match outcome {
        Outcome::Applied(_) => Ok(again.map_or_else(Action::await_change, Action::requeue)),
        Outcome::Invalid(_) => Ok(Action::await_change()),
        Outcome::Conflict { .. } | Outcome::Refused { .. } => Err(ReconcileError::Unapplied),
    }
}

fn forget_the_gone(context: &Context, result: Result<(ObjectRef<Object<impl Parent>>, Action), Failure>) {
    match result {
        Ok(_) | Err(ControllerError::ReconcilerFailed(..)) => {}
        Err(ControllerError::ObjectNotFound(object)) => {
            context.failures.clear(&object);
            context.discoveries.forget(&object);
        }
        Err(error) => error!(error = &error as &dyn std::error::Error, "the controller failed"),
    }
}
