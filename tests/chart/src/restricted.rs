//! Pod Security `restricted`, and what RockBot asks of its pods beyond it.
//!
//! Follows the published Pod Security Standards; the API server enforces the same on a cluster.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::Value;

/// Volume types that `restricted` allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What is wrong with the pod; empty when nothing is.
pub fn violations(pod: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, rule: &str| {
        if !holds {
            found.push(rule.to_owned());
        }
    };
    let security = pod.security_context.clone().unwrap_or_default();
    check(!pod.host_network.unwrap_or(false), "hostNetwork must be off");
    check(!pod.host_pid.unwrap_or(false), "hostPID must be off");
    check(!pod.host_ipc.unwrap_or(false), "hostIPC must be off");
    check(
        security.run_as_non_root == Some(true),
        "securityContext.runAsNonRoot must be true",
    );
    check(
        security.run_as_user.is_some_and(|user| user > 0),
        "securityContext.runAsUser must be a user other than root",
    );
    let profile = security.seccomp_profile.map(|profile| profile.type_);
    check(
        profile.as_deref() == Some("RuntimeDefault"),
        "securityContext.seccompProfile must be RuntimeDefault",
    );
    check(
        pod.enable_service_links == Some(false),
        "enableServiceLinks must be false",
    );
    for volume in pod.volumes.iter().flatten() {
        let value = serde_json::to_value(volume).unwrap_or_default();
        let types = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != "name");
        for (kind, _) in types {
            check(
                VOLUMES.contains(&kind.as_str()),
                &format!("volume {} of type {kind}", volume.name),
            );
        }
    }
    for container in pod.init_containers.iter().flatten().chain(&pod.containers) {
        found.extend(of_container(container));
    }
    found
}

fn of_container(container: &Container) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, rule: &str| {
        if !holds {
            found.push(format!("container {}: {rule}", container.name));
        }
    };
    let security = container.security_context.clone().unwrap_or_default();
    let capabilities = security.capabilities.unwrap_or_default();
    check(
        capabilities.drop == Some(vec!["ALL".to_owned()]),
        "capabilities.drop must be [ALL]",
    );
    check(
        capabilities.add.is_none_or(|add| add.is_empty()),
        "capabilities.add must be empty",
    );
    check(
        security.allow_privilege_escalation == Some(false),
        "allowPrivilegeEscalation must be false",
    );
    check(security.privileged != Some(true), "privileged must be off");
    check(
        security.read_only_root_filesystem == Some(true),
        "readOnlyRootFilesystem must be true",
    );
    check(
        security.run_as_user.is_none_or(|user| user > 0),
        "runAsUser must not be root",
    );
    check(
        security.run_as_non_root != Some(false),
        "runAsNonRoot must not be false",
    );
    let ports = container.ports.iter().flatten();
    check(
        ports.into_iter().all(|port| port.host_port.is_none()),
        "hostPort must not be used",
    );
    let resources = serde_json::to_value(&container.resources).unwrap_or_default();
    for path in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
        check(
            resources.pointer(path).is_some_and(Value::is_string),
            &format!("resources{} is missing", path.replace('/', ".")),
        );
    }
    check(container.readiness_probe.is_some(), "readinessProbe is missing");
    check(container.liveness_probe.is_some(), "livenessProbe is missing");
    found
}
