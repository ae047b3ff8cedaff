//! Which pods of the scripts namespace nobody will use or delete any more. Pure.
//!
//! Managers do not know of each other. They need not: the supervisor of a manager that died reads the end of its stdin and
//! ends, so what is left of a dead manager is a pod that ended. One that never came so far is told by its age.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use rockbot_sandbox::{ACTIVE_DEADLINE_SECONDS, INSTANCE_ANNOTATION};

use crate::pod::START_DEADLINE;

/// No pod is older: the kubelet ended it by then.
const MAX_AGE: Duration = Duration::from_secs(ACTIVE_DEADLINE_SECONDS.unsigned_abs() + 300);
/// No manager waits longer for a pod to start; clocks may differ a little.
const MAX_PENDING: Duration = START_DEADLINE.saturating_add(Duration::from_secs(60));

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
    /// Why it ended or is being ended, in the words of whoever did that.
    pub cause: Option<String>,
    /// Whether the kernel killed its container because memory ran out.
    pub out_of_memory: bool,
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
            cause: status.and_then(cause_of),
            out_of_memory: container
                .and_then(|state| state.terminated.as_ref()?.reason.as_deref())
                .is_some_and(|reason| reason == "OOMKilled"),
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

/// What ended a pod, or is about to: the kubelet's verdict on all of it, whoever evicts it, or the end of its container.
fn cause_of(status: &PodStatus) -> Option<String> {
    let told = |reason: &str, message: Option<&str>| match message.map(str::trim) {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    };
    let verdict = status
        .reason
        .as_deref()
        .map(|reason| told(reason, status.message.as_deref()));
    let disruption = status.conditions.iter().flatten().find_map(|condition| {
        let disrupted = condition.type_ == "DisruptionTarget" && condition.status == "True";
        let reason = condition.reason.as_deref().filter(|_| disrupted)?;
        Some(told(reason, condition.message.as_deref()))
    });
    let killed = status.container_statuses.iter().flatten().find_map(|container| {
        let end = container.state.as_ref()?.terminated.as_ref()?;
        let code = format!("exit code {}", end.exit_code);
        (end.exit_code != 0).then(|| told(end.reason.as_deref().unwrap_or("Error"), Some(&code)))
    });
    verdict.or(disruption).or(killed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(instance: &str, status: &Value) -> Facts {
        let pod = json!({
            "metadata": {
                "name": "script-1",
                "annotations": { "rockbot.dev/instance": instance },
                "creationTimestamp": "1970-01-01T00:16:40Z",
            },
            "status": status,
        });
        Facts::of(&serde_json::from_value::<Pod>(pod).unwrap())
    }

    fn container(state: &Value) -> Value {
        json!([{ "name": "script", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0 }])
    }

    #[test]
    fn leftovers_are_pods_that_nobody_will_use() {
        let (pending, running) = (json!({ "phase": "Pending" }), json!({ "phase": "Running" }));
        let (ended, failed) = (json!({ "phase": "Succeeded" }), json!({ "phase": "Failed" }));
        let created = 1000;
        let cases = [
            // Ours, and yet unknown to us: of an earlier process in this pod.
            ("me", &running, 1, true),
            ("me", &pending, 1, true),
            // Another manager's, which may be alive.
            ("other", &running, 1800, false),
            ("other", &pending, 150, false),
            // What a dead manager leaves.
            ("other", &ended, 1, true),
            ("other", &failed, 1, true),
            ("other", &pending, 181, true),
            ("other", &running, 2101, true),
            // A clock that runs behind.
            ("other", &running, -50, false),
        ];
        for (instance, status, age, expected) in cases {
            assert_eq!(
                facts(instance, status).is_leftover("me", created + age),
                expected,
                "{instance} {status} {age}"
            );
        }
        let deleting = Facts {
            deleting: true,
            ..facts("me", &ended)
        };
        assert!(!deleting.is_leftover("me", created));
    }

    #[test]
    fn a_pod_tells_why_it_does_not_run() {
        let pending = |state: Value| json!({ "phase": "Pending", "containerStatuses": container(&state) });
        assert!(facts("me", &pending(json!({ "running": {} }))).running);
        let creating = pending(json!({ "waiting": { "reason": "ContainerCreating" } }));
        assert_eq!(facts("me", &creating).problem, None);
        let missing = pending(json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } }));
        assert_eq!(
            facts("me", &missing).problem.as_deref(),
            Some("ErrImagePull: not found")
        );
        let full = json!({ "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" }] });
        assert_eq!(facts("me", &full).problem.as_deref(), Some("0/1 nodes are available"));
    }

    #[test]
    fn t16_a_pod_tells_why_it_ended() {
        let ended =
            |reason: &str, code: i32| container(&json!({ "terminated": { "reason": reason, "exitCode": code } }));
        let disk = "Pod ephemeral local storage usage exceeds the total limit of containers 256Mi. ";
        let disruption = |status: &str| {
            json!([{ "type": "DisruptionTarget", "status": status, "reason": "EvictionByEvictionAPI",
                     "message": "Eviction API: evicting" }])
        };
        let cases = [
            (json!({ "phase": "Running" }), None, false),
            (
                json!({ "phase": "Succeeded", "containerStatuses": ended("Completed", 0) }),
                None,
                false,
            ),
            (
                json!({ "phase": "Failed", "containerStatuses": ended("OOMKilled", 137) }),
                Some("OOMKilled: exit code 137"),
                true,
            ),
            (
                json!({ "phase": "Failed", "containerStatuses": ended("Error", 137) }),
                Some("Error: exit code 137"),
                false,
            ),
            (
                json!({ "phase": "Failed", "reason": "Evicted", "message": disk }),
                Some("Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 256Mi."),
                false,
            ),
            (
                json!({ "phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": ended("Error", 137) }),
                Some("DeadlineExceeded"),
                false,
            ),
            (
                json!({ "phase": "Running", "conditions": disruption("True") }),
                Some("EvictionByEvictionAPI: Eviction API: evicting"),
                false,
            ),
            (
                json!({ "phase": "Running", "conditions": disruption("False") }),
                None,
                false,
            ),
        ];
        for (status, cause, out_of_memory) in cases {
            let facts = facts("me", &status);
            assert_eq!(
                (facts.cause.as_deref(), facts.out_of_memory),
                (cause, out_of_memory),
                "{status}"
            );
        }
    }
}
