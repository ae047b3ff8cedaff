//! T17: the pods as the API server gets them, beside golden files. They are the chart's: its admission policy lets in these
//! pods and no others. `UPDATE=1` rewrites them.

use std::{env, error::Error, fs, path::Path};

use k8s_openapi::api::core::v1::Pod;
use rockbot_sandbox::{
    InstallerPodSettings, PodSettings, Shape, SupervisorSettings, installer_pod, labels, parked_pod, selector,
};

#[test]
fn t17_the_pod_and_its_supervisor_are_the_ones_that_the_chart_lets_in() {
    let pod = parked_pod(&PodSettings {
        name: "script-0123456789abcdef",
        instance: "rockbot-scripts-manager-5d8f-x2x9z",
        user_id: 123_456_789,
        shape: &Shape::new("registry.example/python:3.12-slim"),
        supervisor: &SupervisorSettings::default(),
    });
    golden_pod(pod, "script-pod.yaml", "supervisor.py").unwrap();
}

#[test]
fn t17_the_installer_and_its_program_are_the_ones_that_the_chart_lets_in() {
    let pod = installer_pod(&InstallerPodSettings {
        name: "packages-0123456789abcdef",
        instance: "rockbot-scripts-manager-5d8f-x2x9z",
        user_id: 123_456_789,
        shape: &Shape::new("registry.example/python:3.12-slim"),
    });
    golden_pod(pod, "installer-pod.yaml", "installer.py").unwrap();
}

/// The pod in one file, the program of its command in another.
fn golden_pod(mut pod: Pod, file: &str, program: &str) -> Result<(), Box<dyn Error>> {
    let command = pod.spec.as_mut().and_then(|spec| spec.containers[0].command.as_mut());
    let source = command
        .into_iter()
        .flatten()
        .find(|argument| argument.contains('\n'))
        .ok_or("no program")?;
    let source = std::mem::replace(source, format!("<{program}>"));
    // The kubelet expands `$(NAME)` and `$$` in commands, and Linux takes no argument beyond 128 KiB. The policy quotes the
    // source with three apostrophes, and the API server compiles no expression beyond 100,000 characters.
    assert!(!source.contains('$') && !source.contains("'''") && source.len() < 64 << 10);
    assert!(source.ends_with('\n') && !source.contains(['\r', '\t']));
    golden(program, &source)?;
    golden(file, &serde_yaml::to_string(&pod)?)
}

fn golden(file: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../helm/rockbot/generated")
        .join(file);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, text)?;
    }
    assert!(
        fs::read_to_string(&path)? == text,
        "helm/rockbot/generated/{file} differs; `make crds` rewrites it, `git diff` shows what changed"
    );
    Ok(())
}

#[test]
fn runtime_class_and_user_namespace_are_asked_for_only_when_they_are_wanted() {
    let spec = |shape: &Shape| {
        let pod = parked_pod(&PodSettings {
            name: "script-0123456789abcdef",
            instance: "manager",
            user_id: 123_456_789,
            shape,
            supervisor: &SupervisorSettings::default(),
        });
        pod.spec.unwrap()
    };
    let usual = spec(&Shape::new("python"));
    assert_eq!((usual.runtime_class_name, usual.host_users), (None, None));
    let walled = spec(&Shape {
        runtime_class: Some("gvisor".to_owned()),
        host_users: false,
        ..Shape::new("python")
    });
    assert_eq!(
        (walled.runtime_class_name.as_deref(), walled.host_users),
        (Some("gvisor"), Some(false))
    );
}

#[test]
fn all_script_pods_have_the_same_labels_and_the_selector_finds_them() {
    for term in selector().split(',') {
        let (key, value) = term.split_once('=').unwrap();
        assert_eq!(labels()[key], value);
    }
}
