//! T17: the pod as the API server gets it, beside a golden file. `UPDATE=1` rewrites it.

use std::{env, fs, path::Path};

use rockbot_sandbox::{PodSettings, Seccomp, labels, parked_pod, selector};

fn settings(seccomp: Seccomp) -> PodSettings<'static> {
    PodSettings {
        name: "script-0123456789abcdef",
        image: "registry.example/python:3.12-slim",
        instance: "rockbot-scripts-manager-5d8f-x2x9z",
        user_id: 123_456_789,
        seccomp,
    }
}

#[test]
fn t17_the_pod_is_the_golden_one() {
    let mut pod = parked_pod(&settings(Seccomp::On));
    let command = pod.spec.as_mut().unwrap().containers[0].command.as_mut().unwrap();
    let source = std::mem::replace(&mut command[5], "<the supervisor's source>".into());
    // The kubelet expands `$(NAME)` and `$$` in commands, and Linux takes no argument beyond 128 KiB.
    assert!(!source.contains('$') && source.len() < 64 << 10);
    let yaml = serde_yaml::to_string(&pod).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pod.yaml");
    if env::var_os("UPDATE").is_some() {
        fs::write(&golden, &yaml).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&golden).unwrap_or_default(),
        yaml,
        "UPDATE=1 cargo test -p rockbot-sandbox rewrites it"
    );
}

#[test]
fn all_script_pods_have_the_same_labels_and_the_selector_finds_them() {
    let pod = parked_pod(&settings(Seccomp::On));
    assert_eq!(pod.metadata.labels, Some(labels()));
    for term in selector().split(',') {
        let (key, value) = term.split_once('=').unwrap();
        assert_eq!(labels()[key], value);
    }
}

#[test]
fn the_filter_is_off_only_when_the_manager_was_told_so() {
    let command = |seccomp| {
        parked_pod(&settings(seccomp)).spec.unwrap().containers[0]
            .command
            .clone()
            .unwrap()
    };
    assert_eq!(command(Seccomp::On)[6..], ["pod"]);
    assert_eq!(command(Seccomp::Off)[6..], ["pod", "no-seccomp"]);
}
