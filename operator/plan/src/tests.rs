//! From YAML to YAML: `cases/NAME/in.yaml` holds a resource and the McpServers around it, `out.yaml` every child that it
//! gets. `UPDATE=1` writes what comes out now; read the difference before you commit it.

use std::{fs, path::Path};

use rockbot_crds::{
    Agent, McpServer,
    model::{PullSecret, SecretKeyRef},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Endpoint, Invalid, Objects, Problem, Settings, TelemetrySettings, agent_objects, mcp_server_objects, resolve,
    validate_agent, validate_mcp_server,
};

fn settings() -> Settings {
    Settings {
        namespace: "rockbot-system".into(),
        agent_image: "docker.io/rockbot/agent:0.1.0".into(),
        image_pull_secrets: vec![PullSecret {
            name: "registry".into(),
        }],
        operator_url: "http://rockbot-operator.rockbot-system.svc:8080".into(),
        scripts_manager_url: "http://rockbot-scripts-manager.rockbot-system.svc:8080".into(),
        dns_cidrs: vec!["10.89.1.2/32".into()],
        model_egress_cidrs: vec!["10.7.0.0/16".into()],
        telemetry: None,
    }
}

#[test]
fn every_case_comes_out_as_it_did() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut different = Vec::new();
    for case in fs::read_dir(&cases).unwrap() {
        let folder = case.unwrap().path();
        for file in fs::read_dir(&folder).unwrap() {
            let name = file.unwrap().file_name();
            assert!(
                name == "in.yaml" || name == "out.yaml",
                "{}: no test reads {name:?}",
                folder.display()
            );
        }
        let yaml = plan(&fs::read_to_string(folder.join("in.yaml")).unwrap());
        let out = folder.join("out.yaml");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&out, &yaml).unwrap();
        }
        if fs::read_to_string(&out).unwrap_or_default() != yaml {
            different.push(out.display().to_string());
        }
    }
    assert!(
        different.is_empty(),
        "not what comes out now; run the test again with UPDATE=1: {different:#?}"
    );
}

#[test]
fn s13_agents_send_traces_and_metrics_where_the_installation_says() {
    let agent = json!({
        "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent",
        "metadata": { "name": "parrot", "namespace": "zoo", "uid": "1" }, "spec": { "model": { "provider": "Demo" } },
    });
    let agent = validate_agent(&serde_json::from_value(agent).unwrap()).unwrap();
    let objects = |telemetry| {
        let settings = Settings {
            telemetry,
            ..settings()
        };
        agent_objects(&agent, &resolve(&agent, |_| None, |_| false), &settings)
    };
    let telemetry = TelemetrySettings {
        receivers: vec![Endpoint::parse("http://collector.monitoring.svc:4318").unwrap()],
        variables: vec![(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://collector.monitoring.svc:4318".into(),
        )],
        headers: Some(SecretKeyRef {
            name: "otlp".into(),
            key: "headers".into(),
        }),
    };
    let (without, with) = (objects(None), objects(Some(telemetry)));
    let more = |pointer: &str, of: fn(&Objects) -> Value| -> Vec<Value> {
        let [without, with] = [&without, &with].map(|objects| of(objects).pointer(pointer).unwrap().clone());
        let (without, with) = (without.as_array().unwrap(), with.as_array().unwrap());
        with.iter().filter(|item| !without.contains(item)).cloned().collect()
    };
    let secret = json!({ "name": "otlp", "key": "headers", "optional": true });
    assert_eq!(
        more("/spec/template/spec/containers/0/env", |objects| json!(
            objects.deployment
        )),
        [
            json!({ "name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.monitoring.svc:4318" }),
            json!({ "name": "OTEL_SERVICE_NAME", "value": "agent-parrot" }),
            json!({ "name": "OTEL_RESOURCE_ATTRIBUTES", "value": "k8s.namespace.name=zoo" }),
            json!({ "name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": { "secretKeyRef": secret } }),
        ]
    );
    let namespace = json!({ "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } });
    assert_eq!(
        more("/spec/egress", |objects| json!(objects.network_policy)),
        [json!({ "to": [{ "namespaceSelector": namespace, "podSelector": {} }] })]
    );
}

/// The children of the first document, or what is wrong with it.
fn plan(input: &str) -> String {
    let documents = serde_yaml::Deserializer::from_str(input).map(|document| Value::deserialize(document).unwrap());
    let documents: Vec<Value> = documents.collect();
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let servers: Vec<McpServer> = of_kind("McpServer")
        .map(|document| serde_json::from_value(document.clone()).unwrap())
        .collect();
    let first = documents[0].clone();
    let objects = if first["kind"] == "Agent" {
        let agent: Agent = serde_json::from_value(first).unwrap();
        validate_agent(&agent).map(|agent| {
            let find = |name: &str| {
                servers
                    .iter()
                    .find(|server| server.metadata.name.as_deref() == Some(name))
            };
            let has_agent = |name: &str| of_kind("Agent").any(|other| other["metadata"]["name"] == name);
            agent_objects(&agent, &resolve(&agent, find, has_agent), &settings())
        })
    } else {
        validate_mcp_server(&servers[0]).map(|server| mcp_server_objects(&server, &settings()))
    };
    match objects {
        Ok(objects) => documents_of(objects),
        Err(Invalid(problems)) => {
            let lines = problems
                .iter()
                .map(|Problem { field, message }| format!("{field} {message}"));
            yaml(lines.collect::<Vec<_>>())
        }
    }
}

fn documents_of(objects: Objects) -> String {
    let Objects {
        service_account,
        config_map,
        network_policy,
        service,
        volume_claim,
        deployment,
    } = objects;
    let documents: Vec<_> = [
        service_account.map(yaml),
        config_map.map(yaml),
        network_policy.map(yaml),
        service.map(yaml),
        volume_claim.map(yaml),
        deployment.map(yaml),
    ]
    .into_iter()
    .flatten()
    .collect();
    if documents.is_empty() {
        "# no children\n".into()
    } else {
        documents.join("---\n")
    }
}

fn yaml(object: impl Serialize) -> String {
    serde_yaml::to_string(&object).unwrap()
}
