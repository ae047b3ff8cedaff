//! Objects and pods: of the types that they claim to be, labelled, connected to each other, and restricted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{Namespace, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use rockbot_chart_tests::{
    helm::NAMESPACE,
    manifest::{Manifest, find},
    restricted,
};
use serde_json::{Value, json};

use crate::{full_values, product, renderings};

#[test]
fn k3_the_chart_passes_lint() -> Result<()> {
    product().lint(&Value::Null)?;
    let mut full = full_values()?;
    // Lint knows no API beyond those of Kubernetes.
    full["metrics"]["serviceMonitor"]["enabled"] = json!(false);
    product().lint(&full)
}

#[test]
fn k3_every_object_is_of_its_type_labelled_and_placed() -> Result<()> {
    for manifests in renderings()? {
        let mut ids = BTreeSet::new();
        for manifest in &manifests {
            manifest.check()?;
            ensure!(ids.insert(manifest.id()), "{} is rendered twice", manifest.id());
            let labels = &manifest.object["metadata"]["labels"];
            for label in ["name", "instance", "component", "version", "part-of", "managed-by"] {
                ensure!(
                    labels[format!("app.kubernetes.io/{label}")].is_string(),
                    "{}: no {label}",
                    manifest.id()
                );
            }
            let of_the_cluster = [
                "ClusterRole",
                "ClusterRoleBinding",
                "Namespace",
                "ValidatingAdmissionPolicy",
                "ValidatingAdmissionPolicyBinding",
            ]
            .contains(&manifest.kind.as_str());
            ensure!(
                manifest.namespace.is_empty() == of_the_cluster,
                "{}: wrong namespace",
                manifest.id()
            );
        }
    }
    Ok(())
}

#[test]
fn k3_names_follow_the_release() -> Result<()> {
    let [plain, _] = renderings()?;
    for name in ["rockbot-operator", "rockbot-scripts-manager"] {
        for kind in ["Deployment", "Service", "ServiceAccount", "NetworkPolicy"] {
            ensure!(
                find(&plain, kind, name)?.namespace == NAMESPACE,
                "{kind} {name} is elsewhere"
            );
        }
    }
    let renamed = product().render(&json!({ "fullnameOverride": "robots" }), &[])?;
    find(&renamed, "Deployment", "robots-operator")?;
    for manifest in &renamed {
        let mine = manifest.name.starts_with("robots-") || manifest.kind == "Namespace" || is_once(manifest);
        ensure!(mine, "{} does not follow the release", manifest.id());
    }
    Ok(())
}

#[test]
fn k3_an_ending_scripts_manager_has_the_time_of_the_longest_script() -> Result<()> {
    let pod = manager(&Value::Null)?.template.spec.context("no pod")?;
    let grace = pod.termination_grace_period_seconds;
    // 300 s of a script, 3 until no request comes any more, and what follows its end.
    ensure!(grace >= Some(325), "it has {grace:?} s");
    Ok(())
}

#[test]
fn k3_a_second_release_collides_with_the_first() -> Result<()> {
    // Helm does not touch what belongs to another release, and gives up.
    for manifests in renderings()? {
        let once = manifests.iter().filter(|manifest| is_once(manifest)).count();
        ensure!(
            once == 2,
            "{once} objects of the operator have one name in all releases"
        );
    }
    Ok(())
}

/// The operator's permissions in every namespace, of which a cluster has one.
fn is_once(manifest: &Manifest) -> bool {
    manifest.kind.starts_with("ClusterRole") && manifest.name == "rockbot-operator"
}

#[test]
fn k3_every_pod_is_restricted() -> Result<()> {
    for manifests in renderings()? {
        let mut pods = 0;
        for manifest in &manifests {
            let Some(template) = manifest.pod_template()? else {
                continue;
            };
            let violations = restricted::violations(&template.spec.context("a pod without a spec")?);
            ensure!(violations.is_empty(), "{}: {violations:#?}", manifest.id());
            pods += 1;
        }
        ensure!(pods == 2, "{pods} pod templates");
    }
    Ok(())
}

#[test]
fn k3_flags_carry_the_values() -> Result<()> {
    let [_, full] = renderings()?;
    let operator = [
        "run",
        "--listen=0.0.0.0:8080",
        "--namespace=rockbot-system",
        "--agent-image=registry.example/mirror/agent@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "--image-pull-secret=registry",
        "--operator-url=http://my-robots-operator.rockbot-system.svc:8080",
        "--scripts-manager-url=http://my-robots-scripts-manager.rockbot-system.svc:8080",
        "--dns-cidr=169.254.20.10/32",
        "--model-egress-cidr=10.1.0.0/16",
        "--agent-otlp-headers-secret=otlp/authorization",
        "--lease-name=my-robots-operator",
        "--log-format=text",
        "--log-level=debug",
    ];
    let manager = [
        "--listen=0.0.0.0:8080",
        "--scripts-namespace=my-scripts",
        "--image=registry.example/python:3.13-slim",
        "--requests=cpu=20m,memory=64Mi,ephemeral-storage=32Mi",
        "--limits=cpu=1,memory=512Mi,ephemeral-storage=512Mi",
        "--runtime-class=gvisor",
        "--host-users=false",
        "--walls=baseline",
        "--require-network-policy=false",
        "--canary-listen=0.0.0.0:8081",
        "--require-admission-policy=false",
        "--package-index=http://index.example:8080/simple",
        "--package-allow=numpy,pandas",
        "--package-cache=/cache",
        "--package-cache-size=2Gi",
        "--pool-min=8",
        "--pool-max=16",
        "--pool-max-age-seconds=600",
        "--queue-size=16",
        "--max-concurrent=32",
        "--max-concurrent-per-agent=2",
        "--max-files-bytes=1000000",
        "--log-format=text",
        "--log-level=debug",
    ];
    for (name, expected) in [
        ("my-robots-operator", &operator[..]),
        ("my-robots-scripts-manager", &manager),
    ] {
        let template = find(&full, "Deployment", name)?
            .pod_template()?
            .context("no pod template")?;
        let containers = template.spec.context("no spec")?.containers;
        let args: Vec<_> = containers
            .into_iter()
            .flat_map(|container| container.args.unwrap_or_default())
            .collect();
        assert_eq!(args, expected, "{name}");
    }
    Ok(())
}

#[test]
fn k3_numbers_of_a_values_file_are_amounts() -> Result<()> {
    let values = json!({ "scripts": { "resources": {
        "requests": { "cpu": 0.01, "memory": 50_331_648, "ephemeral-storage": "16Mi" },
        "limits": { "cpu": 2, "memory": 536_870_912, "ephemeral-storage": 5_000_000_000_u64 },
    } } });
    let manifests = product().render(&values, &[])?;
    let args = find(&manifests, "Deployment", "rockbot-scripts-manager")?
        .object
        .pointer("/spec/template/spec/containers/0/args")
        .context("no args")?;
    for expected in [
        "--requests=cpu=0.01,memory=50331648,ephemeral-storage=16Mi",
        "--limits=cpu=2,memory=536870912,ephemeral-storage=5000000000",
    ] {
        let found = args.as_array().is_some_and(|args| args.contains(&json!(expected)));
        ensure!(found, "{expected} is not among {args}");
    }
    Ok(())
}

#[test]
fn t16_a_volume_of_packages_is_never_wanted_by_two_pods_of_one_replica() -> Result<()> {
    for (claim, replicas, enabled, expected) in [
        ("packages", 1, true, Some("Recreate")),
        ("packages", 2, true, None),
        ("packages", 1, false, None),
        ("", 1, true, None),
    ] {
        let packages = json!({ "enabled": enabled, "cache": { "claim": claim } });
        let values = json!({ "scripts": { "packages": packages }, "scriptsManager": { "replicas": replicas } });
        let spec = manager(&values)?;
        let strategy = spec.strategy.and_then(|strategy| strategy.type_);
        ensure!(strategy.as_deref() == expected, "{values}: {strategy:?}");
    }
    Ok(())
}

#[test]
fn t16_the_cache_of_packages_has_room_for_what_is_being_installed() -> Result<()> {
    for (size, expected) in [
        ("1Gi", (1 << 30) + (128 << 20)),
        ("64Mi", (64 << 20) + (128 << 20)),
        ("2G", 2_000_000_000 + (128 << 20)),
        ("500M", 500_000_000 + (128 << 20)),
    ] {
        let values = json!({ "scripts": { "packages": { "enabled": true, "cache": { "size": size } } } });
        let pod = manager(&values)?.template.spec.context("no pod")?;
        let volumes = pod.volumes.into_iter().flatten();
        let limits: Vec<_> = volumes
            .filter_map(|volume| volume.empty_dir?.size_limit)
            .map(|limit| limit.0)
            .collect();
        assert_eq!(limits, [expected.to_string()], "{size}");
    }
    Ok(())
}

fn manager(values: &Value) -> Result<DeploymentSpec> {
    let manifests = product().render(values, &[])?;
    let deployment: Deployment = find(&manifests, "Deployment", "rockbot-scripts-manager")?.read()?;
    Ok(deployment.spec)
}

#[test]
fn s13_the_services_send_traces_and_metrics_when_they_are_told_where() -> Result<()> {
    let [plain, full] = renderings()?;
    let variables = |manifests: &[Manifest], name: &str| -> Result<Vec<Value>> {
        let template = find(manifests, "Deployment", name)?
            .pod_template()?
            .context("no pod template")?;
        let containers = template.spec.context("no spec")?.containers;
        let all = containers
            .into_iter()
            .flat_map(|container| container.env.unwrap_or_default());
        Ok(all
            .filter(|variable| variable.name.starts_with("OTEL_"))
            .map(|variable| json!(variable))
            .collect())
    };
    for component in ["operator", "scripts-manager"] {
        let name = format!("my-robots-{component}");
        let secret = json!({ "name": "otlp", "key": "authorization" });
        let expected = json!([
            { "name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "https://otlp.example.com/ingest" },
            { "name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": { "secretKeyRef": secret } },
            { "name": "OTEL_SERVICE_NAME", "value": name },
            { "name": "OTEL_RESOURCE_ATTRIBUTES", "value": "k8s.namespace.name=rockbot-system" },
            { "name": "OTEL_TRACES_SAMPLER", "value": "parentbased_traceidratio" },
            { "name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.25" },
            { "name": "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "value": "true" },
        ]);
        assert_eq!(json!(variables(&full, &name)?), expected);
        assert_eq!(variables(&plain, &format!("rockbot-{component}"))?, Vec::<Value>::new());
    }
    Ok(())
}

#[test]
fn k3_selectors_and_ports_lead_to_the_pods() -> Result<()> {
    for manifests in renderings()? {
        for manifest in manifests.iter().filter(|manifest| manifest.kind == "Deployment") {
            let deployment: Deployment = manifest.read()?;
            let spec = deployment.spec;
            let labels = spec
                .template
                .metadata
                .and_then(|metadata| metadata.labels)
                .context("pods without labels")?;
            let selector = spec.selector.match_labels.context("no selector")?;
            // A selector is immutable: a label that changes with a version would break `helm upgrade`.
            ensure!(
                !selector
                    .keys()
                    .any(|key| key.ends_with("version") || key.ends_with("chart")),
                "{selector:?}"
            );
            selects(&selector, &labels)?;

            let service: Service = find(&manifests, "Service", &manifest.name)?.read()?;
            let service = service.spec.context("no spec")?;
            selects(&service.selector.context("no selector")?, &labels)?;
            let names: Vec<_> = spec.template.spec.into_iter().flat_map(|pod| pod.containers).collect();
            let names: Vec<_> = names
                .iter()
                .flat_map(|container| container.ports.iter().flatten())
                .collect();
            for port in service.ports.context("no ports")? {
                let target = match port.target_port.context("no targetPort")? {
                    IntOrString::String(name) => name,
                    IntOrString::Int(number) => anyhow::bail!("targetPort {number} has no name"),
                };
                let leads = names.iter().any(|port| port.name.as_ref() == Some(&target));
                ensure!(leads, "{}: no container has the port {target}", manifest.id());
            }
        }
    }
    Ok(())
}

#[test]
fn t16_whoever_asks_again_gets_to_the_same_scripts_manager() -> Result<()> {
    for manifests in renderings()? {
        let mut services = manifests.iter().filter(|manifest| manifest.kind == "Service");
        let service = services.find(|service| service.name.ends_with("scripts-manager"));
        let service: Service = service.context("no Service")?.read()?;
        let affinity = service.spec.and_then(|spec| spec.session_affinity);
        assert_eq!(affinity.as_deref(), Some("ClientIP"));
    }
    Ok(())
}

#[test]
fn k3_drains_never_take_every_replica() -> Result<()> {
    let [one, several] = renderings()?;
    ensure!(
        !one.iter().any(|manifest| manifest.kind == "PodDisruptionBudget"),
        "a budget for one replica blocks drains"
    );
    for name in ["operator", "scripts-manager"] {
        let budgets: Vec<_> = several
            .iter()
            .filter(|manifest| manifest.kind == "PodDisruptionBudget")
            .collect();
        let budget = budgets
            .iter()
            .find(|manifest| manifest.name.ends_with(name))
            .context("no budget")?;
        let spec = budget.read::<PodDisruptionBudget>()?.spec.context("no spec")?;
        ensure!(spec.max_unavailable == Some(IntOrString::Int(1)), "{spec:?}");
    }
    Ok(())
}

#[test]
fn k3_the_scripts_namespace_enforces_restricted() -> Result<()> {
    let [plain, _] = renderings()?;
    let namespace: Namespace = find(&plain, "Namespace", "rockbot-scripts")?.read()?;
    let labels = namespace.metadata.labels.context("no labels")?;
    for mode in ["enforce", "audit", "warn"] {
        let level = labels
            .get(&format!("pod-security.kubernetes.io/{mode}"))
            .map(String::as_str);
        ensure!(level == Some("restricted"), "{mode}: {level:?}");
    }
    for kind in ["ResourceQuota", "LimitRange"] {
        let bounds: Vec<&Manifest> = plain.iter().filter(|manifest| manifest.kind == kind).collect();
        ensure!(
            bounds.len() == 1 && bounds[0].namespace == "rockbot-scripts",
            "{kind}: {bounds:?}"
        );
    }
    Ok(())
}

fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> Result<()> {
    ensure!(!selector.is_empty(), "an empty selector");
    for (key, value) in selector {
        ensure!(
            labels.get(key) == Some(value),
            "{selector:?} does not select {labels:?}"
        );
    }
    Ok(())
}
