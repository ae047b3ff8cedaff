//! Whatever the definitions refuse is refused here: each rule between fields has its counterpart.

use std::collections::BTreeSet;

use kube_core::cel::Validator;
use rockbot_crds::definitions;
use serde_json::{Value, json};

use super::*;

/// For each rule the kind, a part of its message, an object that breaks it and nothing else, and the field that is named here.
fn broken() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let demo = || json!({ "provider": "Demo" });
    let agent =
        |message, more: Value, field| ("Agent", message, of("a", with(json!({ "model": demo() }), more)), field);
    let model = |message, model: Value, field| ("Agent", message, of("a", json!({ "model": model })), field);
    let fallback = |message, fallback: Value, field| {
        let model = json!({ "provider": "Demo", "fallbacks": [fallback] });
        ("Agent", message, of("a", json!({ "model": model })), field)
    };
    let hook = |message, more: Value, field| {
        let hook = with(json!({ "name": "h", "event": "on_message", "url": "http://x/" }), more);
        agent(message, json!({ "hooks": [hook] }), field)
    };
    let handoff = |message, more: Value, field| {
        let handoff = with(json!({ "name": "h", "description": "d" }), more);
        agent(message, json!({ "handoffs": [handoff] }), field)
    };
    let server = |message, spec: Value, field| ("McpServer", message, of("a", spec), field);
    let key = || json!({ "secretKeyRef": { "name": "s", "key": "k" } });
    let remote = |more: Value| with(json!({ "remote": { "url": "https://x/" } }), more);
    vec![
        (
            "Agent",
            "at most 50",
            of("a.b", json!({ "model": demo() })),
            "metadata.name",
        ),
        (
            "Agent",
            "fixed route",
            of("health", json!({ "model": demo() })),
            "metadata.name",
        ),
        agent(
            "replicas of at most 1",
            json!({ "replicas": 2, "storage": { "type": "Volume" } }),
            "spec.replicas",
        ),
        agent(
            "needs apiKeys",
            json!({ "access": { "anonymousScope": "none" } }),
            "spec.access.anonymousScope",
        ),
        agent(
            "volume is about the type",
            json!({ "storage": { "volume": {} } }),
            "spec.storage.volume",
        ),
        agent(
            "postgres is required",
            json!({ "storage": { "type": "Postgres" } }),
            "spec.storage.postgres",
        ),
        model("name is required", json!({ "provider": "OpenAI" }), "spec.model.name"),
        model(
            "baseUrl is required",
            json!({ "provider": "Ollama", "name": "m" }),
            "spec.model.baseUrl",
        ),
        model(
            "baseUrl must be absent",
            with(demo(), json!({ "baseUrl": "http://x/" })),
            "spec.model.baseUrl",
        ),
        model(
            "apiKey must be absent",
            with(demo(), json!({ "apiKey": key() })),
            "spec.model.apiKey",
        ),
        model(
            "extraBody must be absent",
            with(demo(), json!({ "extraBody": { "a": 1 } })),
            "spec.model.extraBody",
        ),
        fallback(
            "name is required",
            json!({ "provider": "Gemini" }),
            "spec.model.fallbacks[0].name",
        ),
        fallback(
            "baseUrl is required",
            json!({ "provider": "Ollama", "name": "m" }),
            "spec.model.fallbacks[0].baseUrl",
        ),
        fallback(
            "baseUrl must be absent",
            with(demo(), json!({ "baseUrl": "http://x/" })),
            "spec.model.fallbacks[0].baseUrl",
        ),
        fallback(
            "apiKey must be absent",
            with(demo(), json!({ "apiKey": key() })),
            "spec.model.fallbacks[0].apiKey",
        ),
        fallback(
            "extraBody must be absent",
            with(demo(), json!({ "extraBody": { "a": 1 } })),
            "spec.model.fallbacks[0].extraBody",
        ),
        hook(
            "a request for every word",
            json!({ "event": "on_chunk" }),
            "spec.hooks[h].event",
        ),
        hook(
            "nothing to stop",
            json!({ "event": "finalize_connection", "failurePolicy": "Fail" }),
            "spec.hooks[h].failurePolicy",
        ),
        handoff(
            "target is required",
            json!({ "type": "Agent" }),
            "spec.handoffs[h].target",
        ),
        handoff(
            "name of an Agent",
            json!({ "type": "Agent", "target": "a/b" }),
            "spec.handoffs[h].target",
        ),
        handoff(
            "http or https URL",
            json!({ "type": "Service", "target": "ftp://x/" }),
            "spec.handoffs[h].target",
        ),
        handoff(
            "nobody is called",
            json!({ "type": "Human", "timeoutSeconds": 5 }),
            "spec.handoffs[h].timeoutSeconds",
        ),
        handoff(
            "signingKeyRef must be absent",
            json!({ "type": "Agent", "target": "b", "signingKeyRef": { "name": "s", "key": "k" } }),
            "spec.handoffs[h].signingKeyRef",
        ),
        ("McpServer", "at most 50", of("a.b", remote(json!({}))), "metadata.name"),
        server("exactly one", json!({}), "spec"),
        server(
            "egress is about pods",
            remote(json!({ "egress": "Public" })),
            "spec.egress",
        ),
        server(
            "resources are those of pods",
            remote(json!({ "resources": {} })),
            "spec.resources",
        ),
    ]
}

#[test]
fn every_rule_between_fields_is_here_too() {
    let mut rules = BTreeSet::new();
    for definition in definitions() {
        let definition = json!(definition);
        collect(
            definition["spec"]["names"]["kind"].as_str().unwrap(),
            &schema(&definition),
            &mut rules,
        );
    }
    for (kind, message, mut object, field) in broken() {
        object["kind"] = json!(kind);
        object["apiVersion"] = json!("rockbot.dev/v1alpha1");
        let definitions = definitions().map(|definition| json!(definition));
        let definition = definitions
            .iter()
            .find(|definition| definition["spec"]["names"]["kind"] == kind);
        let refusal = Validator::new()
            .validate(&schema(definition.unwrap()), &object, None)
            .unwrap_err();
        assert!(
            refusal.to_string().contains(message),
            "{object}: {message:?} is not in {refusal}"
        );
        let problems = match kind {
            "Agent" => validate_agent(&serde_json::from_value(object.clone()).unwrap()).map(drop),
            _ => validate_mcp_server(&serde_json::from_value(object.clone()).unwrap()).map(drop),
        };
        let Err(Invalid(problems)) = problems else {
            panic!("{object} passes")
        };
        assert!(
            problems.iter().any(|problem| problem.field == field),
            "{object}: {field} is not in {problems:?}"
        );
        rules.retain(|(of, rule)| of != kind || !rule.contains(message));
    }
    assert_eq!(rules, BTreeSet::new(), "rules that nothing is said about here");
}

/// The messages of all rules of a schema and its parts, but for those about edits.
fn collect(kind: &str, schema: &Value, rules: &mut BTreeSet<(String, String)>) {
    let of_schema = schema["x-kubernetes-validations"].as_array();
    let text = |rule: &Value, field: &str| rule[field].as_str().unwrap().to_owned();
    for rule in of_schema.into_iter().flatten() {
        if !text(rule, "rule").contains("oldSelf") {
            rules.insert((kind.to_owned(), text(rule, "message")));
        }
    }
    let properties = schema["properties"].as_object();
    let parts = properties.into_iter().flat_map(|properties| properties.values());
    for part in parts
        .chain(schema.get("items"))
        .chain(schema.get("additionalProperties"))
    {
        collect(kind, part, rules);
    }
}

fn schema(definition: &Value) -> Value {
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn of(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": spec })
}

fn with(mut base: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    base.as_object_mut().unwrap().extend(more);
    base
}
