//! From YAML to YAML: `cases/NAME/in.yaml` holds a resource and the McpServers around it, `out.yaml` every child that it
//! gets. `UPDATE=1` writes what comes out now; read the difference before you commit it.

use std::{fs, path::Path};

use rockbot_crds::{Agent, McpServer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Invalid, Objects, Problem, Settings, agent_objects, mcp_server_objects, resolve, validate_agent,
    validate_mcp_server,
};

fn settings() -> Settings {
    Settings {
        namespace: "rockbot-system".into(),
        agent_image: "docker.io/rockbot/agent:0.1.0".into(),
        scripts_manager_url: "http://rockbot-scripts-manager.rockbot-system.svc:8080".into(),
        dns_cidrs: vec!["10.89.1.2/32".into()],
        model_egress_cidrs: vec!["10.7.0.0/16".into()],
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

/// The children of the first document, or what is wrong with it.
fn plan(input: &str) -> String {
    let documents = serde_yaml::Deserializer::from_str(input).map(|document| Value::deserialize(document).unwrap());
    let documents: Vec<Value> = documents.collect();
    let servers: Vec<McpServer> = documents
        .iter()
        .filter(|document| document["kind"] == "McpServer")
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
            agent_objects(&agent, &resolve(&agent, find), &settings())
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
        deployment,
    } = objects;
    let documents: Vec<_> = [
        service_account.map(yaml),
        config_map.map(yaml),
        network_policy.map(yaml),
        service.map(yaml),
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
