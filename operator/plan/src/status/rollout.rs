//! What a Deployment's status says about its pods.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use rockbot_crds::conditions::Reason;

use super::{
    Outcome,
    conditions::{State, Verdict},
};

/// Whether pods do what the spec says, as far as the outcome of applying it tells. Without pods there is nothing to wait
/// for.
pub(super) fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Applied(None) => Verdict::new(State::Ready, Reason::Available, "there are no pods to wait for"),
        Outcome::Applied(Some(deployment)) => pods(deployment),
        Outcome::Invalid(invalid) => Verdict::new(State::Stalled, Reason::InvalidSpec, invalid.to_string()),
        Outcome::Conflict { kind, name } => Verdict::new(
            State::Stalled,
            Reason::NameConflict,
            format!(
                "{kind} {name} exists and was not made by RockBot for this resource; delete or rename it, or rename this"
            ),
        ),
        Outcome::Refused { message } => Verdict::new(State::Stalled, Reason::ApplyFailed, message),
    }
}

/// Whether there are pods that do what the spec says, or none are needed.
pub fn pods_are_ready(outcome: &Outcome) -> bool {
    verdict(outcome).state == State::Ready
}

fn pods(deployment: &Deployment) -> Verdict {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let observed = status.observed_generation >= deployment.metadata.generation;
    let (total, updated) = (
        status.replicas.unwrap_or_default(),
        status.updated_replicas.unwrap_or_default(),
    );
    let available = status.available_replicas.unwrap_or_default();
    if observed && wanted == 0 && total == 0 {
        return Verdict::new(
            State::Idle,
            Reason::ScaledToZero,
            "spec.replicas is 0: there are no pods",
        );
    }
    if observed && updated == wanted && total == wanted && available >= wanted {
        return Verdict::new(State::Ready, Reason::Available, format!("{} available", count(wanted)));
    }
    match failure(&status).filter(|_| observed) {
        Some(message) => Verdict::new(State::Stalled, Reason::RolloutFailed, message),
        None => {
            let message = format!("{} of {} available", available.min(updated), count(wanted));
            Verdict::new(State::Reconciling, Reason::Progressing, message)
        }
    }
}

/// Why a rollout does not go on: pods that may not be created, or that do not come up in time.
fn failure(status: &DeploymentStatus) -> Option<String> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let is = |field: &Option<String>, text: &str| field.as_deref() == Some(text);
    let refused = conditions
        .iter()
        .find(|condition| is(&condition.type_, "ReplicaFailure") && is(&condition.status, "True"));
    let late = conditions
        .iter()
        .find(|condition| is(&condition.type_, "Progressing") && is(&condition.reason, "ProgressDeadlineExceeded"));
    let message = refused.or(late)?.message.clone().unwrap_or_default();
    Some(if refused.is_some() {
        message
    } else {
        format!("{message} Look at the pods with kubectl describe.")
    })
}

fn count(pods: i32) -> String {
    if pods == 1 {
        "1 pod is".to_owned()
    } else {
        format!("{pods} pods are")
    }
}
