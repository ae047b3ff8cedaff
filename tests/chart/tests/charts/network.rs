//! NetworkPolicies: every component has one for both directions, and scripts have a wall.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use rockbot_chart_tests::manifest::{Manifest, find};
use serde_json::{Value, json};

use crate::{product, renderings};

#[test]
fn k3_every_component_has_a_policy_for_both_directions() -> Result<()> {
    for manifests in renderings()? {
        for manifest in &manifests {
            let Some(template) = manifest.pod_template()? else {
                continue;
            };
            let labels = template
                .metadata
                .and_then(|metadata| metadata.labels)
                .context("pods without labels")?;
            let spec = policy(&manifests, &manifest.name)?;
            let selector = spec
                .pod_selector
                .unwrap_or_default()
                .match_labels
                .context("an empty podSelector")?;
            ensure!(
                selector.iter().all(|(key, value)| labels.get(key) == Some(value)),
                "{selector:?} misses {labels:?}"
            );
            both_directions(spec.policy_types.as_deref())?;
            for rule in spec.ingress.context("no ingress")? {
                ensure!(
                    rule.from.is_some_and(|from| !from.is_empty()),
                    "{} is open to everybody",
                    manifest.id()
                );
                ensure!(
                    rule.ports.is_some_and(|ports| ports.len() == 1),
                    "{} is open on other ports",
                    manifest.id()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn k3_scripts_are_walled_off() -> Result<()> {
    for (values, namespace) in [
        (Value::Null, "rockbot-scripts"),
        (
            json!({ "scripts": { "namespace": "elsewhere", "createNamespace": false } }),
            "elsewhere",
        ),
    ] {
        let manifests = product().render(&values, &[])?;
        let wall = find(&manifests, "NetworkPolicy", "rockbot-deny-all")?;
        ensure!(wall.namespace == namespace, "{}", wall.id());
        let spec = wall.read::<NetworkPolicy>()?.spec.context("no spec")?;
        let selector = spec.pod_selector.context("no podSelector")?;
        ensure!(
            selector.match_labels.is_none() && selector.match_expressions.is_none(),
            "{selector:?}"
        );
        both_directions(spec.policy_types.as_deref())?;
        ensure!(spec.ingress.is_none() && spec.egress.is_none(), "the wall has a door");
        // Policies add up: another one in the namespace could only open what the wall closes.
        let policies = manifests.iter().filter(|manifest| manifest.kind == "NetworkPolicy");
        ensure!(
            policies.filter(|policy| policy.namespace == namespace).count() == 1,
            "the wall is not alone"
        );
    }
    Ok(())
}

#[test]
fn t17_only_installers_of_packages_have_a_door_in_the_wall() -> Result<()> {
    let policies = |packages: Value| -> Result<Vec<Manifest>> {
        let manifests = product().render(&json!({ "scripts": { "packages": packages } }), &[])?;
        let in_scripts =
            |manifest: &Manifest| manifest.kind == "NetworkPolicy" && manifest.namespace == "rockbot-scripts";
        Ok(manifests.into_iter().filter(in_scripts).collect())
    };
    let dns = "pods of kube-system:53/53";
    for (packages, expected) in [
        (json!({ "enabled": true }), vec![dns, "0.0.0.0/0 but private:443"]),
        (
            json!({ "enabled": true, "index": "http://index.example/simple" }),
            vec![dns, "0.0.0.0/0 but private:80"],
        ),
        (
            json!({ "enabled": true, "index": "https://index.example:8443/simple" }),
            vec![dns, "0.0.0.0/0 but private:8443"],
        ),
        (
            json!({ "enabled": true, "egress": [{ "to": [{ "podSelector": {} }], "ports": [{ "port": 8080 }] }] }),
            vec![dns, "everything of all:8080"],
        ),
    ] {
        let found = policies(packages.clone())?;
        let door = find(&found, "NetworkPolicy", "rockbot-package-installer")?;
        ensure!(found.len() == 2, "{packages}: {} policies", found.len());
        assert_eq!(destinations(&found, &door.name)?, expected, "{packages}");
        let spec = policy(&found, &door.name)?;
        both_directions(spec.policy_types.as_deref())?;
        ensure!(spec.ingress.is_none(), "somebody may call an installer");
        let selector = spec.pod_selector.and_then(|selector| selector.match_labels);
        let component = selector.and_then(|labels| labels.get("app.kubernetes.io/component").cloned());
        ensure!(component.as_deref() == Some("package-installer"), "{component:?}");
    }
    ensure!(
        policies(json!({ "enabled": false }))?.len() == 1,
        "a door without packages"
    );
    Ok(())
}

#[test]
fn k3_only_agents_call_the_services_until_metrics_are_opened() -> Result<()> {
    let agents = json!({ "namespaceSelector": {}, "podSelector": { "matchLabels": {
        "app.kubernetes.io/component": "agent", "app.kubernetes.io/managed-by": "rockbot-operator",
    } } });
    let prometheus = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } });
    let opened = product().render(&json!({ "metrics": { "from": [prometheus] } }), &[])?;
    let [closed, _] = renderings()?;
    for name in ["rockbot-operator", "rockbot-scripts-manager"] {
        assert_eq!(callers(&closed, name, 8080)?, *std::slice::from_ref(&agents), "{name}");
        assert_eq!(
            callers(&opened, name, 8080)?,
            [agents.clone(), prometheus.clone()],
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn t17_script_pods_may_reach_the_canary_and_nothing_else() -> Result<()> {
    for manifests in renderings()? {
        let name = &manifests
            .iter()
            .find(|manifest| manifest.kind == "Deployment" && manifest.name.ends_with("-scripts-manager"))
            .context("no scripts manager")?
            .name;
        let wall = manifests.iter().find(|manifest| manifest.name.ends_with("-deny-all"));
        let scripts = &wall.context("no wall")?.namespace;
        let expected = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": scripts } } });
        assert_eq!(callers(&manifests, name, 8081)?, [expected]);
        for rule in policy(&manifests, name)?.ingress.unwrap_or_default() {
            let ports = serde_json::to_value(rule.ports)?;
            ensure!(ports[0]["port"] == 8080 || ports[0]["port"] == 8081, "{ports} is open");
        }
    }
    Ok(())
}

#[test]
fn k3_the_services_reach_what_they_need_and_no_more() -> Result<()> {
    let open = json!({ "networkPolicy": { "remoteMcpPorts": [] } });
    let narrow = json!({ "networkPolicy": {
        "remoteMcpPorts": [], "dnsCIDRs": ["10.0.0.10/32"], "apiServerPorts": [6443], "apiServerCIDRs": ["10.0.0.1/32"],
    } });
    let dns = "pods of kube-system:53/53";
    let more_dns = "pods of kube-system, 10.0.0.10/32:53/53";
    let mcp = "pods of all:any port";
    for (values, name, expected) in [
        (&open, "rockbot-operator", vec![dns, "anything:443/6443", mcp]),
        (&open, "rockbot-scripts-manager", vec!["anything:443/6443"]),
        (&narrow, "rockbot-operator", vec![more_dns, "10.0.0.1/32:6443", mcp]),
        (&narrow, "rockbot-scripts-manager", vec!["10.0.0.1/32:6443"]),
        (&Value::Null, "rockbot-scripts-manager", vec!["anything:443/6443"]),
        (
            &Value::Null,
            "rockbot-operator",
            vec![dns, "anything:443/6443", mcp, "0.0.0.0/0 but private:80/443"],
        ),
    ] {
        assert_eq!(
            destinations(&product().render(values, &[])?, name)?,
            expected,
            "{name} with {values}"
        );
    }
    Ok(())
}

#[test]
fn s13_the_services_reach_the_receiver_of_traces_wherever_it_is() -> Result<()> {
    let service = "everything of monitoring:any port";
    let public = "0.0.0.0/0 but private, 10.1.0.0/16";
    for (endpoint, expected) in [
        ("http://collector.monitoring.svc:4318", vec![service.to_owned()]),
        (
            "http://collector.monitoring.svc.cluster.local:4318/x",
            vec![service.to_owned()],
        ),
        (
            "http://collector-0.collector.monitoring.svc:4318",
            vec![service.to_owned()],
        ),
        (
            "http://pod.svc.Monitoring.svc.cluster.local:4318",
            vec![service.to_owned()],
        ),
        ("http://svc.42.svc:4318", vec!["everything of 42:any port".to_owned()]),
        ("http://x.svc.example.com:4318", vec![format!("{public}:4318")]),
        (
            "http://collector.monitoring:4318",
            vec![service.to_owned(), format!("{public}:4318")],
        ),
        ("https://otlp.example.com/x", vec![format!("{public}:443")]),
        ("http://otlp.example.com", vec![format!("{public}:80")]),
        ("http://10.2.3.4:4318", vec!["10.2.3.4/32:4318".to_owned()]),
        ("http://[fd00::7]:4318", vec!["fd00::7/128:4318".to_owned()]),
    ] {
        let values = json!({
            "telemetry": { "otlp": { "endpoint": endpoint } },
            "networkPolicy": { "remoteMcpPorts": [], "modelEgressCIDRs": ["10.1.0.0/16"] },
        });
        let manifests = product().render(&values, &[])?;
        let beyond = |name, rules: usize| -> Result<_> { Ok(destinations(&manifests, name)?.split_off(rules)) };
        assert_eq!(beyond("rockbot-operator", 3)?, expected, "{endpoint}");
        let dns = "pods of kube-system:53/53".to_owned();
        let of_manager: Vec<_> = [dns].into_iter().chain(expected).collect();
        assert_eq!(beyond("rockbot-scripts-manager", 1)?, of_manager, "{endpoint}");
    }
    Ok(())
}

fn policy(manifests: &[Manifest], name: &str) -> Result<NetworkPolicySpec> {
    find(manifests, "NetworkPolicy", name)?
        .read::<NetworkPolicy>()?
        .spec
        .context("no spec")
}

fn both_directions(types: Option<&[String]>) -> Result<()> {
    ensure!(
        types == Some(&["Ingress".to_owned(), "Egress".to_owned()]),
        "policyTypes: {types:?}"
    );
    Ok(())
}

fn callers(manifests: &[Manifest], name: &str, port: i32) -> Result<Vec<Value>> {
    let rules = policy(manifests, name)?.ingress.unwrap_or_default();
    let of_port = rules
        .into_iter()
        .filter(|rule| json!(rule.ports)[0]["port"] == json!(port));
    let peers = of_port.flat_map(|rule| rule.from.unwrap_or_default());
    peers.map(|peer| Ok(serde_json::to_value(peer)?)).collect()
}

/// Each egress rule as `who:ports`.
fn destinations(manifests: &[Manifest], name: &str) -> Result<Vec<String>> {
    let rules = policy(manifests, name)?.egress.unwrap_or_default();
    Ok(rules
        .into_iter()
        .map(|rule| {
            let to: Vec<_> = rule.to.iter().flatten().map(destination).collect();
            let ports: Vec<_> = rule
                .ports
                .iter()
                .flatten()
                .filter_map(|port| port.port.as_ref())
                .collect();
            let ports: Vec<_> = ports.iter().map(|port| json!(port).to_string()).collect();
            let to = if to.is_empty() {
                "anything".to_owned()
            } else {
                to.join(", ")
            };
            format!(
                "{to}:{}",
                if ports.is_empty() {
                    "any port".to_owned()
                } else {
                    ports.join("/")
                }
            )
        })
        .collect())
}

fn destination(peer: &NetworkPolicyPeer) -> String {
    if let Some(block) = &peer.ip_block {
        let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"];
        let except = block.except.clone().unwrap_or_default();
        let but = private.iter().all(|range| except.iter().any(|cidr| cidr == range));
        return format!("{}{}", block.cidr, if but { " but private" } else { "" });
    }
    let labels = |selector: &Option<LabelSelector>| -> BTreeMap<String, String> {
        selector
            .clone()
            .and_then(|selector| selector.match_labels)
            .unwrap_or_default()
    };
    let namespace = labels(&peer.namespace_selector)
        .into_values()
        .next()
        .unwrap_or_else(|| "all".to_owned());
    let pods = if labels(&peer.pod_selector).is_empty() {
        "everything"
    } else {
        "pods"
    };
    format!("{pods} of {namespace}")
}
