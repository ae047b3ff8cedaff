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

use crate::{
    shape::{Amounts, Shape},
    supervisor::{PACKAGES_DIR, SupervisorSettings, WORK_DIR, supervisor_command},
};

/// Name of the pod's only container.
pub const CONTAINER: &str = "script";
/// Which manager made the pod. An annotation: a label per manager would cost a security identity in some CNIs.
pub const INSTANCE_ANNOTATION: &str = "rockbot.dev/instance";
/// The kubelet ends the pod after this time, whatever happened to its manager.
pub const ACTIVE_DEADLINE_SECONDS: i64 = 30 * 60;
/// User ids of pods. Each pod has one of its own, because the kernel counts processes per user on the whole node.
pub const USER_IDS: std::ops::RangeInclusive<i64> = 100_000..=2_000_000_000;

/// Name of the volume behind [`WORK_DIR`].
const WORK: &str = "work";
/// Name of the volume behind [`PACKAGES_DIR`].
const PACKAGES: &str = "packages";
/// Labels of every pod that a manager makes.
const COMMON_LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/managed-by", "rockbot-scripts-manager"),
    ("app.kubernetes.io/part-of", "rockbot"),
];
const SCRIPT_LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/component", "script"),
    ("app.kubernetes.io/name", "rockbot-script"),
];

/// What differs between script pods.
#[derive(Clone, Debug)]
pub struct PodSettings<'a> {
    /// Name, unique for ever.
    pub name: &'a str,
    /// The manager that makes it.
    pub instance: &'a str,
    /// A number of [`USER_IDS`].
    pub user_id: i64,
    /// What it has in common with its manager's other pods.
    pub shape: &'a Shape,
    /// What its supervisor is told.
    pub supervisor: &'a SupervisorSettings,
}

/// Labels of every script pod, final at creation: a label that differs or changes costs a security identity in Cilium.
pub fn labels() -> BTreeMap<String, String> {
    map(SCRIPT_LABELS.iter().chain(&COMMON_LABELS))
}

/// Selects every pod that a manager makes: those of scripts and those that install packages.
pub fn selector() -> String {
    COMMON_LABELS.map(|(key, value)| format!("{key}={value}")).join(",")
}

/// The pod, ready to be created.
pub fn parked_pod(settings: &PodSettings<'_>) -> Pod {
    let PodSettings {
        name,
        instance,
        user_id,
        shape,
        supervisor,
    } = *settings;
    let part = Part {
        labels: &SCRIPT_LABELS,
        container: CONTAINER,
        command: supervisor_command(supervisor),
        volumes: vec![
            // What a script writes is gone with it and counts as its memory; packages are read back from disk.
            volume(WORK, Some("Memory"), "64Mi"),
            volume(PACKAGES, None, "192Mi"),
        ],
        mounts: vec![mount(WORK, WORK_DIR), mount(PACKAGES, PACKAGES_DIR)],
        // Policy `None` asks for a server; nothing listens on this one, and no packet leaves.
        dns: (
            "None",
            Some(PodDNSConfig {
                nameservers: Some(vec!["127.0.0.1".to_owned()]),
                ..PodDNSConfig::default()
            }),
        ),
        active_deadline_seconds: ACTIVE_DEADLINE_SECONDS,
    };
    part.pod(name, instance, user_id, shape)
}

/// What the kinds of pods in the scripts namespace do not have in common.
pub(crate) struct Part<'a> {
    pub labels: &'a [(&'a str, &'a str)],
    pub container: &'a str,
    pub command: Vec<String>,
    pub volumes: Vec<Volume>,
    pub mounts: Vec<VolumeMount>,
    pub dns: (&'a str, Option<PodDNSConfig>),
    pub active_deadline_seconds: i64,
}

impl Part<'_> {
    pub(crate) fn pod(self, name: &str, instance: &str, user_id: i64, shape: &Shape) -> Pod {
        let (dns_policy, dns_config) = self.dns;
        Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(map(self.labels.iter().chain(&COMMON_LABELS))),
                annotations: Some(map(&[(INSTANCE_ANNOTATION, instance)])),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                containers: vec![container(self.container, self.command, self.mounts, shape)],
                volumes: Some(self.volumes),
                runtime_class_name: shape.runtime_class.clone(),
                // Absent where it is not asked for: older nodes refuse a pod that says it.
                host_users: (!shape.host_users).then_some(false),
                security_context: Some(PodSecurityContext {
                    run_as_non_root: Some(true),
                    run_as_user: Some(user_id),
                    run_as_group: Some(user_id),
                    seccomp_profile: Some(runtime_default()),
                    ..PodSecurityContext::default()
                }),
                dns_policy: Some(dns_policy.to_owned()),
                dns_config,
                automount_service_account_token: Some(false),
                enable_service_links: Some(false),
                restart_policy: Some("Never".to_owned()),
                active_deadline_seconds: Some(self.active_deadline_seconds),
                termination_grace_period_seconds: Some(1),
                ..PodSpec::default()
            }),
            status: None,
        }
    }
}

fn container(name: &str, command: Vec<String>, mounts: Vec<VolumeMount>, shape: &Shape) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(shape.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command),
        working_dir: Some(WORK_DIR.to_owned()),
        // Without `stdinOnce` a program that waits would not notice that its manager is gone.
        stdin: Some(true),
        stdin_once: Some(true),
        resources: Some(ResourceRequirements {
            limits: Some(quantities(&shape.limits)),
            requests: Some(quantities(&shape.requests)),
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
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    }
}

pub(crate) fn volume(name: &str, medium: Option<&str>, size_limit: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            size_limit: Some(quantity(size_limit)),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

pub(crate) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn quantities(amounts: &Amounts) -> BTreeMap<String, Quantity> {
    amounts
        .named()
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), quantity(amount)))
        .collect()
}

fn quantity(text: &str) -> Quantity {
    Quantity(text.to_owned())
}

fn map<'a>(pairs: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
