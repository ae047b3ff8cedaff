//! Which pods of the scripts namespace nobody will use or delete any more. Pure.
//!
//! Managers do not know of each other. They need not: the supervisor of a manager that died reads the end of its stdin and
//! ends, so what is left of a dead manager is a pod that ended. One that never came so far is told by its age.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use rockbot_sandbox::{ACTIVE_DEADLINE_SECONDS, INSTANCE_ANNOTATION};

/// No pod is older: the kubelet ended it by then.
const MAX_AGE: Duration = Duration::from_secs(ACTIVE_DEADLINE_SECONDS.unsigned_abs() + 300);
/// No manager waits longer for a pod to start.
const MAX_PENDING: Duration = Duration::from_secs(300);

/// What matters of a script pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub instance: Option<String>,
    /// Seconds since the epoch.
    pub created: i64,
    pub pending: bool,
    pub scheduled: bool,
    pub running: bool,
    pub ended: bool,
    pub deleting: bool,
    /// Why it does not run, in the words of the scheduler or the kubelet.
    pub problem: Option<String>,
}

impl Facts {
    pub(crate) fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        let container = status.and_then(|status| {
            // A pod of ours has one container.
            status.container_statuses.as_ref()?.first()?.state.as_ref()
        });
        Self {
            instance: pod
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(INSTANCE_ANNOTATION))
                .cloned(),
            created: pod
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(0, |time| time.0.as_second()),
            pending: phase == "Pending",
            scheduled: pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()),
            running: container.is_some_and(|state| state.running.is_some()),
            ended: matches!(phase, "Succeeded" | "Failed"),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            problem: status.and_then(problem_of),
        }
    }

    /// Whether nothing will ever run in it again.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.deleting
    }

    /// Whether manager `instance`, which is not using this pod itself, should delete it.
    pub(crate) fn is_leftover(&self, instance: &str, now: i64) -> bool {
        if self.deleting {
            return false;
        }
        let age = Duration::from_secs(now.saturating_sub(self.created).max(0).unsigned_abs());
        let ours = self.instance.as_deref() == Some(instance);
        ours || self.ended || age > MAX_AGE || (self.pending && age > MAX_PENDING)
    }
}

/// What keeps a pod from running: it cannot be scheduled, or its container waits for something that went wrong.
fn problem_of(status: &PodStatus) -> Option<String> {
    let unschedulable = status.conditions.iter().flatten().find_map(|condition| {
        let failed = condition.type_ == "PodScheduled" && condition.status == "False";
        failed.then(|| condition.message.clone()).flatten()
    });
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        // Every container waits for a moment, for nothing wrong.
        let reason = waiting
            .reason
            .as_deref()
            .filter(|reason| *reason != "ContainerCreating")?;
        Some(format!(
            "{reason}: {}",
            waiting.message.as_deref().unwrap_or("no message")
        ))
    });
    unschedulable.or(waiting)
}
