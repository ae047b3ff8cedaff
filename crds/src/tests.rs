//! The definitions are generated from the types, every example is valid, and what must be refused is refused with a
//! message that names it.

use std::{fs, path::PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{definitions, to_yaml};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn schema_of(definition: &CustomResourceDefinition) -> Value {
    let version = &definition.spec.versions[0];
    serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// What the API server would say against `object`: bounds and types first, then rules.
fn complaints(object: &Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap();
    let definitions = definitions();
    let definition = definitions
        .iter()
        .find(|definition| definition.spec.names.kind == kind)
        .unwrap();
    let schema = schema_of(definition);
    let mut object = object.clone();
    let mut found = Vec::new();
    unknown_fields(&schema, &object, "", &mut found);
    set_defaults(&schema, &mut object);
    let validator = jsonschema::validator_for(&schema).unwrap();
    found.extend(
        validator
            .iter_errors(&object)
            .map(|error| format!("{}: {error}", error.instance_path())),
    );
    if let Err(errors) = Validator::new().validate(&schema, &object, None) {
        found.push(errors.to_string());
    }
    found
}

/// kubectl refuses fields that a definition does not have.
fn unknown_fields(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, value) in fields
            .iter()
            .filter(|(name, _)| !["apiVersion", "kind", "metadata"].contains(&name.as_str()))
        {
            match properties.get(name) {
                Some(schema) => unknown_fields(schema, value, &format!("{path}/{name}"), found),
                None => found.push(format!("{path}/{name}: unknown field")),
            }
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        unknown_fields(&schema["items"], value, &format!("{path}/{index}"), found);
    }
}

/// The API server fills in defaults before it evaluates rules.
fn set_defaults(schema: &Value, value: &mut Value) {
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object_mut()) {
        for (name, schema) in properties {
            if let (Some(default), false) = (schema.get("default"), fields.contains_key(name)) {
                fields.insert(name.clone(), default.clone());
            }
            if let Some(value) = fields.get_mut(name) {
                set_defaults(schema, value);
            }
        }
    }
    for value in value.as_array_mut().into_iter().flatten() {
        set_defaults(&schema["items"], value);
    }
}

/// Where the definitions are written. The chart has files of its own: what fetches charts from Git may drop a link that leads
/// out of them.
const GENERATED: [&str; 2] = ["generated", "../helm/rockbot-crds/generated"];

#[test]
fn generated_definitions_are_those_of_the_types() {
    for place in GENERATED {
        let mut expected = Vec::new();
        for definition in definitions() {
            let name = format!("{}.yaml", definition.spec.names.plural);
            let path = folder(place).join(&name);
            let yaml = to_yaml(&definition).unwrap();
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&path, &yaml).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == yaml,
                "{} is not what the types say; run the test again with UPDATE=1",
                path.display()
            );
            expected.push(name);
        }
        for file in fs::read_dir(folder(place)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(
                expected.iter().any(|one| one == name),
                "{} belongs to no definition; delete it",
                path.display()
            );
        }
    }
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for file in fs::read_dir(folder("examples")).unwrap() {
        let path = file.unwrap().path();
        for document in serde_yaml::Deserializer::from_str(&fs::read_to_string(&path).unwrap()) {
            let object = Value::deserialize(document).unwrap();
            if object["apiVersion"] == "rockbot.dev/v1alpha1" {
                assert_eq!(complaints(&object), Vec::<String>::new(), "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 3, "no examples were found");
}

#[test]
fn k1_a_wrong_agent_is_refused_with_its_field_or_the_reason() {
    let demo = || json!({ "provider": "Demo" });
    let long = "a".repeat(51);
    for (name, spec, expected) in [
        ("a", json!({ "model": demo(), "replicas": -1 }), "/spec/replicas"),
        (
            "a",
            json!({ "model": { "provider": "Abacus" } }),
            "/spec/model/provider",
        ),
        ("a", json!({ "model": { "provider": "OpenAI" } }), "name is required"),
        (
            "a",
            json!({ "model": demo(), "access": { "anonymousScope": "none" } }),
            "anonymousScope none needs apiKeys",
        ),
        (
            "a",
            json!({ "model": demo(), "access": { "apiKeys": [
                { "name": "k", "scope": "Owner", "secretKeyRef": { "name": "s", "key": "k" } },
            ] } }),
            "/spec/access/apiKeys/0/scope",
        ),
        (
            "a",
            json!({ "model": { "provider": "Demo", "baseUrl": "http://x/v1" } }),
            "baseUrl must be absent",
        ),
        (
            "a",
            json!({ "model": { "provider": "Ollama", "name": "m" } }),
            "baseUrl is required",
        ),
        (
            "a",
            json!({ "model": { "provider": "Gemini", "name": "m", "fallbacks": [{ "provider": "Anthropic" }] } }),
            "name is required",
        ),
        (
            "a",
            json!({ "model": { "provider": "Demo", "extraBody": { "a": 1 } } }),
            "extraBody must be absent",
        ),
        (
            "a",
            json!({ "model": { "provider": "Demo", "temperature": 9 } }),
            "/spec/model/temperature",
        ),
        ("a", json!({ "modle": demo(), "model": demo() }), "/spec/modle"),
        (
            "a",
            json!({ "model": demo(), "tools": { "scripts": { "timeoutSeconds": 301 } } }),
            "timeoutSeconds",
        ),
        (
            "a",
            json!({ "model": demo(), "tools": { "scripts": { "packages": { "allow": ["numpy>=2"] } } } }),
            "/spec/tools/scripts/packages/allow/0",
        ),
        (
            "a",
            json!({ "model": demo(), "tools": { "scripts": { "packages": { "allow": [] } } } }),
            "/spec/tools/scripts/packages/allow",
        ),
        ("a", json!({ "description": "no model" }), "model"),
        ("health", json!({ "model": demo() }), "fixed route"),
        ("a.b", json!({ "model": demo() }), "metadata.name"),
        (long.as_str(), json!({ "model": demo() }), "at most 50"),
        (
            "a",
            json!({ "model": demo(), "resources": { "limits": { "cpu": "lots" } } }),
            "/spec/resources/limits",
        ),
    ] {
        is_refused("Agent", name, &spec, expected);
    }
}

#[test]
fn d2_d3_d4_wrong_prompts_hooks_and_handoffs_are_refused_with_their_field_or_the_reason() {
    let hook = |more: Value| {
        with(
            "hooks",
            json!({ "name": "h", "event": "on_message", "url": "http://x/" }),
            more,
        )
    };
    let handoff = |more: Value| with("handoffs", json!({ "name": "h", "description": "d" }), more);
    let key = || json!({ "name": "s", "key": "k" });
    for (spec, expected) in [
        (with("prompts", json!({ "name": "p" }), json!({})), "template"),
        (
            with("prompts", json!({ "name": "P", "template": "x" }), json!({})),
            "/spec/prompts/0/name",
        ),
        (
            with(
                "prompts",
                json!({ "name": "p", "template": "x" }),
                json!({ "priority": 2000 }),
            ),
            "/spec/prompts/0/priority",
        ),
        (hook(json!({ "event": "on_chunk" })), "a request for every word"),
        (hook(json!({ "event": "onMessage" })), "/spec/hooks/0/event"),
        (
            hook(json!({ "event": "finalize_connection", "failurePolicy": "Fail" })),
            "nothing to stop",
        ),
        (hook(json!({ "url": "https://me:secret@x/" })), "/spec/hooks/0/url"),
        (hook(json!({ "timeoutSeconds": 61 })), "/spec/hooks/0/timeoutSeconds"),
        (handoff(json!({ "type": "Robot" })), "/spec/handoffs/0/type"),
        (handoff(json!({ "type": "Agent" })), "target is required"),
        (
            handoff(json!({ "type": "Human", "target": "bob" })),
            "target is required, but for a Human",
        ),
        (handoff(json!({ "type": "Agent", "target": "a/b" })), "name of an Agent"),
        (
            handoff(json!({ "type": "Service", "target": "b" })),
            "http or https URL",
        ),
        (
            handoff(json!({ "type": "Human", "secretKeyRef": key() })),
            "must be absent when type is Human",
        ),
        (
            handoff(json!({ "type": "Human", "timeoutSeconds": 5 })),
            "must be absent when type is Human",
        ),
        (
            handoff(json!({ "type": "Agent", "target": "b", "signingKeyRef": key() })),
            "signingKeyRef must be absent",
        ),
        (
            handoff(json!({ "type": "Human", "scope": "Owner" })),
            "/spec/handoffs/0/scope",
        ),
    ] {
        is_refused("Agent", "a", &spec, expected);
    }
    for fine in [
        hook(json!({ "url": "https://x.example/a?b=c", "failurePolicy": "Fail", "secretKeyRef": key() })),
        handoff(json!({ "type": "Agent", "target": "b", "secretKeyRef": key(), "timeoutSeconds": 5 })),
        handoff(json!({ "type": "Service", "target": "https://x.example:8/a?b=c", "signingKeyRef": key() })),
        handoff(json!({ "type": "Human" })),
    ] {
        let metadata = json!({ "name": "a" });
        let object =
            json!({ "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": fine });
        assert_eq!(complaints(&object), Vec::<String>::new(), "{object}");
    }
}

/// The spec of an Agent whose list `field` has one entry: `base` and, on top of it, `more`.
fn with(field: &str, base: Value, more: Value) -> Value {
    let (mut entry, Value::Object(more)) = (base, more) else {
        unreachable!("an object")
    };
    entry.as_object_mut().unwrap().extend(more);
    json!({ "model": { "provider": "Demo" }, field: [entry] })
}

#[test]
fn k1_storage_and_days_that_cannot_be_are_refused() {
    let url = || json!({ "secretKeyRef": { "name": "s", "key": "k" } });
    for (part, expected) in [
        (
            json!({ "replicas": 2, "storage": { "type": "Volume" } }),
            "replicas of at most 1",
        ),
        (
            json!({ "storage": { "volume": {} } }),
            "volume is about the type Volume",
        ),
        (json!({ "storage": { "type": "Postgres" } }), "postgres is required"),
        (
            json!({ "storage": { "type": "Volume", "volume": { "size": "0.5Gi" } } }),
            "/spec/storage/volume/size",
        ),
        (
            json!({ "storage": { "type": "Postgres", "postgres": { "host": "postgres://h/d", "url": url() } } }),
            "/spec/storage/postgres/host",
        ),
        (json!({ "timeZone": "UTC; DROP" }), "/spec/timeZone"),
        (json!({ "limits": { "dailyTokens": 0 } }), "/spec/limits/dailyTokens"),
    ] {
        let mut spec = part;
        spec["model"] = json!({ "provider": "Demo" });
        is_refused("Agent", "a", &spec, expected);
    }
}

/// Whether the API server would take `new` as an edit of `old`.
fn complaint_about_edit(old: &Value, new: &Value) -> String {
    let agent = |storage: &Value| {
        let spec = json!({ "model": { "provider": "Demo" }, "storage": storage });
        json!({ "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent", "metadata": { "name": "a" }, "spec": spec })
    };
    let [definition, _] = definitions();
    let outcome = Validator::new().validate(&schema_of(&definition), &agent(new), Some(&agent(old)));
    outcome.map_or_else(|errors| errors.to_string(), |()| String::new())
}

#[test]
fn a_volume_never_shrinks_and_never_changes_its_class() {
    let volume = |volume: Value| json!({ "type": "Volume", "volume": volume });
    let sized = |size: &str| volume(json!({ "size": size }));
    let classed = |class: &str| volume(json!({ "size": "1Gi", "storageClassName": class }));
    let none = || json!({ "type": "Volume" });
    for (old, new, expected) in [
        (sized("10Gi"), sized("20Gi"), ""),
        (sized("10Gi"), sized("5Gi"), "cannot shrink"),
        (sized("10Gi"), volume(json!({})), "cannot shrink"),
        (sized("10Gi"), none(), "volume cannot be left out"),
        (classed("fast"), none(), "volume cannot be left out"),
        (sized("1Gi"), none(), ""),
        (sized("512Mi"), none(), ""),
        (none(), none(), ""),
        (none(), sized("2Gi"), ""),
        (none(), sized("512Mi"), "there is one of 1Gi"),
        (none(), classed("fast"), "there is one of 1Gi"),
        (classed("fast"), classed("slow"), "cannot be changed"),
        (classed("fast"), sized("1Gi"), "cannot be changed"),
        (sized("10Gi"), json!({ "type": "Ephemeral" }), ""),
        (json!({ "type": "Ephemeral" }), classed("fast"), ""),
        (json!({}), sized("512Mi"), ""),
    ] {
        let complaint = complaint_about_edit(&old, &new);
        assert!(
            complaint.contains(expected) && complaint.is_empty() == expected.is_empty(),
            "{old} to {new}: {expected:?} is not in {complaint:?}"
        );
    }
}

#[test]
fn k2_a_wrong_mcp_server_is_refused_with_its_field_or_the_reason() {
    let image = || json!({ "image": "a", "port": 1 });
    for (spec, expected) in [
        (json!({}), "exactly one"),
        (
            json!({ "http": image(), "remote": { "url": "https://x/" } }),
            "exactly one",
        ),
        (json!({ "http": { "image": "a", "port": 0 } }), "/spec/http/port"),
        (json!({ "remote": { "url": "ftp://x/" } }), "/spec/remote/url"),
        (
            json!({ "remote": { "url": "https://me:secret@x/" } }),
            "/spec/remote/url",
        ),
        (
            json!({ "remote": { "url": "https://x/" }, "egress": "Public" }),
            "egress is about pods",
        ),
        (
            json!({ "remote": { "url": "https://x/" }, "resources": {} }),
            "resources are those of pods",
        ),
    ] {
        is_refused("McpServer", "a", &spec, expected);
    }
}

fn is_refused(kind: &str, name: &str, spec: &Value, expected: &str) {
    let object =
        json!({ "apiVersion": "rockbot.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    let found = complaints(&object);
    assert!(
        found.iter().any(|text| text.contains(expected)),
        "{kind} {spec}: {expected:?} is not in {found:?}"
    );
}
