//! What all pods have in common: Pod Security `restricted`, no token for the API server, rollouts without a gap.

use std::{cmp::Ordering, collections::BTreeMap};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements, SeccompProfile, SecurityContext,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use rockbot_crds::{Resources, model::PullSecret};

use super::Parent;
use crate::{Settings, quantity};

/// The user that every container runs as.
const USER: i64 = 65532;
/// Seconds without progress after which a rollout counts as failed.
const PROGRESS_DEADLINE_SECONDS: i32 = 180;

/// A Deployment of `pod`, hardened.
pub(super) fn deployment(
    parent: Parent<'_>,
    replicas: i32,
    annotations: Option<BTreeMap<String, String>>,
    pod: PodSpec,
) -> Deployment {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(parent.labels()),
            annotations,
            ..ObjectMeta::default()
        }),
        spec: Some(hardened(parent, pod)),
    };
    // A new pod serves before an old one goes.
    let rolling = RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(1)),
        max_unavailable: Some(IntOrString::Int(0)),
    };
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        revision_history_limit: Some(2),
        progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
        selector: LabelSelector {
            match_labels: Some(parent.selector()),
            ..LabelSelector::default()
        },
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(rolling),
        }),
        template,
        ..DeploymentSpec::default()
    };
    Deployment {
        metadata: parent.metadata(),
        spec,
        ..Deployment::default()
    }
}

/// A Deployment whose old pod goes before a new one comes: both would want the volume.
pub(super) fn one_at_a_time(mut deployment: Deployment) -> Deployment {
    deployment.spec.strategy = Some(DeploymentStrategy {
        type_: Some("Recreate".into()),
        rolling_update: None,
    });
    deployment
}

fn hardened(parent: Parent<'_>, pod: PodSpec) -> PodSpec {
    let mut volumes = pod.volumes.iter().flatten();
    let keeps = volumes.any(|volume| volume.persistent_volume_claim.is_some());
    PodSpec {
        service_account_name: Some(parent.child_name()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            // The group of what a volume holds, so that the user may write there.
            fs_group: keeps.then_some(USER),
            fs_group_change_policy: keeps.then(|| "OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: pod.containers.into_iter().map(hardened_container).collect(),
        ..pod
    }
}

fn hardened_container(container: Container) -> Container {
    Container {
        image_pull_policy: Some("IfNotPresent".into()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        ..container
    }
}

/// References to the Secrets that an object names, or to those of the operator.
pub(super) fn image_pull_secrets(
    given: Option<&[PullSecret]>,
    settings: &Settings,
) -> Option<Vec<LocalObjectReference>> {
    let secrets = given.unwrap_or(&settings.image_pull_secrets);
    let references = secrets
        .iter()
        .map(|PullSecret { name }| LocalObjectReference { name: name.clone() });
    (!secrets.is_empty()).then(|| references.collect())
}

/// The one port of a container.
pub(super) fn http_port(port: i32) -> Vec<ContainerPort> {
    vec![ContainerPort {
        name: Some("http".into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }]
}

/// What the user asks for. A request or a limit that is not given is the default one, unless the other side contradicts it: nothing
/// is reserved beyond its limit, and no limit is below what is reserved. `memory` is the default request and limit.
pub(super) fn resources(given: Option<&Resources>, memory: (&str, &str)) -> ResourceRequirements {
    let Resources { requests, limits } = given.cloned().unwrap_or_default();
    let (mut requests, mut limits) = (requests.unwrap_or_default(), limits.unwrap_or_default());
    for (name, default) in [("cpu", "10m"), ("memory", memory.0)] {
        let request = unless(Ordering::Greater, default, limits.get(name));
        requests.entry(name.to_owned()).or_insert(request);
    }
    let limit = unless(Ordering::Less, memory.1, requests.get("memory"));
    limits.entry("memory".to_owned()).or_insert(limit);
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        claims: None,
    }
}

/// A default, or the `other` side of it if the default is `wrong` beside that.
fn unless(wrong: Ordering, default: &str, other: Option<&Quantity>) -> Quantity {
    let other = other.filter(|other| quantity::compare(default, &other.0).is_none_or(|order| order == wrong));
    other.cloned().unwrap_or_else(|| Quantity(default.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_given_on_one_side_is_never_contradicted_on_the_other() {
        for (given, requests, limits) in [
            (
                json!({}),
                json!({ "cpu": "10m", "memory": "16Mi" }),
                json!({ "memory": "128Mi" }),
            ),
            (
                json!({ "requests": { "memory": "256Mi" } }),
                json!({ "cpu": "10m", "memory": "256Mi" }),
                json!({ "memory": "256Mi" }),
            ),
            (
                json!({ "requests": { "memory": "64Mi", "cpu": "2" } }),
                json!({ "cpu": "2", "memory": "64Mi" }),
                json!({ "memory": "128Mi" }),
            ),
            (
                json!({ "limits": { "memory": "8Mi" } }),
                json!({ "cpu": "10m", "memory": "8Mi" }),
                json!({ "memory": "8Mi" }),
            ),
            (
                json!({ "limits": { "cpu": "5m" } }),
                json!({ "cpu": "5m", "memory": "16Mi" }),
                json!({ "cpu": "5m", "memory": "128Mi" }),
            ),
            (
                json!({ "requests": { "example.com/gpu": "1" }, "limits": { "example.com/gpu": "1" } }),
                json!({ "cpu": "10m", "memory": "16Mi", "example.com/gpu": "1" }),
                json!({ "memory": "128Mi", "example.com/gpu": "1" }),
            ),
            (
                json!({ "requests": { "memory": "1e99" } }),
                json!({ "cpu": "10m", "memory": "1e99" }),
                json!({ "memory": "1e99" }),
            ),
        ] {
            let parsed: Resources = serde_json::from_value(given.clone()).unwrap();
            let made = resources(Some(&parsed), ("16Mi", "128Mi"));
            assert_eq!(json!(made.requests), requests, "{given}");
            assert_eq!(json!(made.limits), limits, "{given}");
        }
    }
}
