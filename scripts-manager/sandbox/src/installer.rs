//! The program that installs packages, and the pod that it runs in: the only one of the scripts namespace with a network.
//!
//! No script ever runs in it. Its egress is the NetworkPolicy's business, which tells it by its labels.

use k8s_openapi::api::core::v1::Pod;

use crate::{
    pod::{Part, mount, volume},
    shape::Shape,
    supervisor::{Place, WORK_DIR},
};

/// The program's source.
const SOURCE: &str = include_str!("../python/installer.py");
/// Name of the pod's only container.
pub const INSTALLER_CONTAINER: &str = "installer";
/// The kubelet ends the pod after this time, whatever happened to its manager.
const ACTIVE_DEADLINE_SECONDS: i64 = 5 * 60;
/// Name of the volume that everything is downloaded and unpacked in.
const WORK: &str = "work";
const LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/component", "package-installer"),
    ("app.kubernetes.io/name", "rockbot-package-installer"),
];

/// What differs between pods that install packages.
#[derive(Clone, Debug)]
pub struct InstallerPodSettings<'a> {
    /// Name, unique for ever.
    pub name: &'a str,
    /// The manager that makes it.
    pub instance: &'a str,
    /// A number of [`USER_IDS`](crate::USER_IDS).
    pub user_id: i64,
    /// What it has in common with script pods: packages must fit their interpreter.
    pub shape: &'a Shape,
}

/// The command line of the installer, for an image or machine with `python3` and its pip.
pub fn installer_command(place: Place) -> Vec<String> {
    let place = match place {
        Place::Pod => "pod",
        Place::Local => "local",
    };
    ["python3", "-I", "-u", "-c", SOURCE, place].map(str::to_owned).into()
}

/// The pod, ready to be created.
pub fn installer_pod(settings: &InstallerPodSettings<'_>) -> Pod {
    let InstallerPodSettings {
        name,
        instance,
        user_id,
        shape,
    } = *settings;
    let part = Part {
        labels: &LABELS,
        container: INSTALLER_CONTAINER,
        command: installer_command(Place::Pod),
        volumes: vec![volume(WORK, None, "256Mi")],
        mounts: vec![mount(WORK, WORK_DIR)],
        dns: ("ClusterFirst", None),
        active_deadline_seconds: ACTIVE_DEADLINE_SECONDS,
    };
    part.pod(name, instance, user_id, shape)
}
