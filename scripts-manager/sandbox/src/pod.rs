//! The pod that one script gets, as it is created: parked, walled in, and the same for every script.
//!
//! It passes Pod Security `restricted`. It has no owner: an object of another namespace cannot own it, and one in its own
//! would need rights beyond pods. A supervisor whose manager is gone ends by itself, and managers sweep pods that ended.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, Pod, PodDNSConfig, PodSecurityContext, PodSpec,
        ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use crate::supervisor::{Place, Seccomp, WORK_DIR, supervisor_command};

/// Name of the pod's only container.
pub const CONTAINER: &str = "script";
/// Which manager made the pod. An annotation: a label per manager would cost a security identity in some CNIs.
pub const INSTANCE_ANNOTATION: &str = "rockbot.dev/instance";
/// The kubelet ends the pod after this time, whatever happened to its manager.
pub const ACTIVE_DEADLINE_SECONDS: i64 = 30 * 60;
/// User ids of pods. Each pod has one of its own, because the kernel counts processes per user on the whole node.
pub const USER_IDS: std::ops::RangeInclusive<i64> = 100_000..=2_000_000_000;

const LABELS: [(&str, &str); 4] = [
    ("app.kubernetes.io/component", "script"),
    ("app.kubernetes.io/managed-by", "rockbot-scripts-manager"),
    ("app.kubernetes.io/name", "rockbot-script"),
    ("app.kubernetes.io/part-of", "rockbot"),
];

/// What differs between script pods.
#[derive(Clone, Debug)]
pub struct PodSettings<'a> {
    /// Name, unique for ever.
    pub name: &'a str,
    /// Image with `python3` and nothing of RockBot.
    pub image: &'a str,
    /// The manager that makes it.
    pub instance: &'a str,
    /// A number of [`USER_IDS`].
    pub user_id: i64,
    /// Whether the supervisor puts up its filter.
    pub seccomp: Seccomp,
}

/// Labels of every script pod, final at creation: a label that differs or changes costs a security identity in Cilium.
pub fn labels() -> BTreeMap<String, String> {
    map(&LABELS)
}

/// The selector of [`labels`].
pub fn selector() -> String {
    LABELS.map(|(key, value)| format!("{key}={value}")).join(",")
}

/// The pod, ready to be created.
pub fn parked_pod(settings: &PodSettings<'_>) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(settings.name.to_owned()),
            labels: Some(labels()),
            annotations: Some(map(&[(INSTANCE_ANNOTATION, settings.instance)])),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![container(settings)],
            volumes: Some(vec![Volume {
                name: "work".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    medium: Some("Memory".to_owned()),
                    size_limit: Some(quantity("64Mi")),
                    ..EmptyDirVolumeSource::default()
                }),
                ..Volume::default()
            }]),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(settings.user_id),
                run_as_group: Some(settings.user_id),
                seccomp_profile: Some(runtime_default()),
                ..PodSecurityContext::default()
            }),
            // Policy `None` asks for a server; nothing listens on this one, and no packet leaves.
            dns_policy: Some("None".to_owned()),
            dns_config: Some(PodDNSConfig {
                nameservers: Some(vec!["127.0.0.1".to_owned()]),
                ..PodDNSConfig::default()
            }),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(ACTIVE_DEADLINE_SECONDS),
            termination_grace_period_seconds: Some(1),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn container(settings: &PodSettings<'_>) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(supervisor_command(Place::Pod, settings.seccomp)),
        working_dir: Some(WORK_DIR.to_owned()),
        // Without `stdinOnce` a parked supervisor would not notice that its manager is gone.
        stdin: Some(true),
        stdin_once: Some(true),
        resources: Some(ResourceRequirements {
            limits: Some(quantities(&[
                ("cpu", "500m"),
                ("memory", "256Mi"),
                ("ephemeral-storage", "64Mi"),
            ])),
            requests: Some(quantities(&[
                ("cpu", "10m"),
                ("memory", "48Mi"),
                ("ephemeral-storage", "16Mi"),
            ])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "work".to_owned(),
            mount_path: WORK_DIR.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), quantity(text)))
        .collect()
}

fn quantity(text: &str) -> Quantity {
    Quantity(text.to_owned())
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
