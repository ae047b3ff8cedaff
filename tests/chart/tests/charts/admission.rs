//! T17: the admission policy of the scripts namespace says what the scripts manager makes. Whether the API server
//! understands it, and refuses everything else, only a cluster can tell: the end-to-end tests.

use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::{LimitRange, Pod},
};
use rockbot_chart_tests::{
    manifest::{Manifest, find},
    repository,
};
use serde_json::{Value, json};

use crate::{product, renderings};

const NAME: &str = "rockbot-scripts";

#[test]
fn t17_the_policy_denies_for_everybody_in_the_scripts_namespace_and_fails_closed() -> Result<()> {
    let policy = policy(&Value::Null)?;
    let spec = serde_json::to_value(policy.spec)?;
    assert_eq!(spec["failurePolicy"], "Fail");
    assert_eq!(
        spec["matchConstraints"],
        json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "rockbot-scripts" } },
            "resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["pods", "pods/ephemeralcontainers", "pods/resize"],
            }],
        })
    );
    // A condition could except a requester.
    assert_eq!(spec["matchConditions"], Value::Null);
    let binding = binding(&Value::Null)?;
    assert_eq!(
        serde_json::to_value(binding.spec)?,
        json!({ "policyName": NAME, "validationActions": ["Deny"] })
    );
    Ok(())
}

#[test]
fn t17_the_policy_quotes_the_supervisor_as_it_is() -> Result<()> {
    let source = fs::read_to_string(repository("helm/rockbot/generated/supervisor.py"))?;
    assert_eq!(
        expression(&policy(&Value::Null)?, "supervisor")?,
        format!("r'''{source}'''")
    );
    Ok(())
}

#[test]
fn t17_the_policy_follows_the_values() -> Result<()> {
    let values = json!({ "scripts": {
        "image": "registry.example/python:3.13-slim",
        "walls": "baseline",
        "runtimeClassName": "gvisor",
        "hostUsers": false,
        "resources": { "limits": { "memory": "512Mi" } },
    } });
    let shapes = expression(&policy(&values)?, "shapes")?;
    for said in [
        r#""image": dyn("registry.example/python:3.13-slim")"#,
        r#"dyn("pod"), dyn("walls=baseline")]"#,
        r#""runtimeClassName": dyn("gvisor")"#,
        r#""hostUsers": dyn(false)"#,
        r#""memory": dyn("512Mi")"#,
    ] {
        ensure!(shapes.contains(said), "{said} is missing: {shapes}");
    }
    // The API server adds the class's overhead and scheduling, so the policy has to know the class.
    let spec = policy(&values)?.spec.context("no spec")?;
    ensure!(
        spec.param_kind
            .is_some_and(|kind| kind.kind.as_deref() == Some("RuntimeClass")),
        "no class"
    );
    assert_eq!(
        serde_json::to_value(binding(&values)?.spec)?["paramRef"],
        json!({ "name": "gvisor", "parameterNotFoundAction": "Deny" })
    );
    Ok(())
}

#[test]
fn t17_a_pod_with_a_network_is_let_in_only_where_packages_are_installed() -> Result<()> {
    let installer = "\"package-installer\": {";
    ensure!(
        !expression(&policy(&Value::Null)?, "shapes")?.contains(installer),
        "without packages"
    );
    let with = policy(&json!({ "scripts": { "packages": { "enabled": true } } }))?;
    ensure!(expression(&with, "shapes")?.contains(installer), "with packages");
    let source = fs::read_to_string(repository("helm/rockbot/generated/installer.py"))?;
    assert_eq!(expression(&with, "installer")?, format!("r'''{source}'''"));
    Ok(())
}

#[test]
fn t17_usual_resources_are_those_of_the_scripts_manager() -> Result<()> {
    let generated = fs::read_to_string(repository("helm/rockbot/generated/script-pod.yaml"))?;
    let pod: Pod = serde_yaml::from_str(&generated)?;
    let made = pod.spec.context("no spec")?.containers[0].resources.clone();
    let values: Value = serde_yaml::from_str(&fs::read_to_string(repository("helm/rockbot/values.yaml"))?)?;
    assert_eq!(values["scripts"]["resources"], serde_json::to_value(&made)?);
    let [plain, _] = renderings()?;
    let bounds: LimitRange = find(&plain, "LimitRange", NAME)?.read()?;
    let largest = bounds.spec.and_then(|spec| spec.limits.into_iter().next()?.max);
    assert_eq!(largest, made.and_then(|made| made.limits), "the namespace's bound");
    Ok(())
}

#[test]
fn t17_without_the_policy_the_manager_does_not_wait_for_it() -> Result<()> {
    let without = product().render(&json!({ "scripts": { "admissionPolicy": { "enabled": false } } }), &[])?;
    ensure!(
        !without
            .iter()
            .any(|manifest| manifest.kind.starts_with("ValidatingAdmission")),
        "there is a policy"
    );
    for (manifests, expected) in [(&without, "false"), (&renderings()?[0], "true")] {
        let manager = find(manifests, "Deployment", "rockbot-scripts-manager")?;
        let args = manager.object["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        ensure!(
            args.contains(&format!("--require-admission-policy={expected}")),
            "{args}"
        );
    }
    Ok(())
}

fn rendered(values: &Value, kind: &str) -> Result<Manifest> {
    Ok(find(&product().render(values, &[])?, kind, NAME)?.clone())
}

fn policy(values: &Value) -> Result<ValidatingAdmissionPolicy> {
    rendered(values, "ValidatingAdmissionPolicy")?.read()
}

fn binding(values: &Value) -> Result<ValidatingAdmissionPolicyBinding> {
    rendered(values, "ValidatingAdmissionPolicyBinding")?.read()
}

fn expression(policy: &ValidatingAdmissionPolicy, variable: &str) -> Result<String> {
    let variables = policy.spec.as_ref().and_then(|spec| spec.variables.as_ref());
    let found = variables.into_iter().flatten().find(|one| one.name == variable);
    Ok(found
        .with_context(|| format!("no variable {variable}"))?
        .expression
        .clone())
}
