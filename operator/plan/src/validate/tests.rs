//! Whatever the definitions refuse is refused here: each rule between fields has its counterpart.

use std::collections::BTreeSet;

use kube_core::cel::Validator;
use rockbot_crds::definitions;
use serde_json::{Value, json};

use super::*;

/// Objects of which each breaks one rule and nothing else.
const BROKEN: &str = include_str!("broken.txt");

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
    for line in BROKEN.lines().filter(|line| !line.starts_with('#')) {
        let [kind, message, name, spec, field] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("no row: {line}")
        };
        let spec: Value = serde_yaml::from_str(spec).unwrap();
        let object =
            json!({ "apiVersion": "rockbot.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        let refusal = refusal(kind, &object);
        assert!(refusal.contains(message), "{line}: {refusal:?}");
        let problems = problems(kind, object);
        assert!(
            problems.iter().any(|problem| problem.field == field),
            "{line}: {problems:?}"
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

/// What the API server says against an object.
fn refusal(kind: &str, object: &Value) -> String {
    let definitions = definitions().map(|definition| json!(definition));
    let definition = definitions
        .iter()
        .find(|definition| definition["spec"]["names"]["kind"] == kind);
    let outcome = Validator::new().validate(&schema(definition.unwrap()), object, None);
    outcome.map_or_else(|errors| errors.to_string(), |()| String::new())
}

/// What is said against it here.
fn problems(kind: &str, object: Value) -> Vec<Problem> {
    let outcome = match kind {
        "Agent" => validate_agent(&serde_json::from_value(object).unwrap()).map(drop),
        _ => validate_mcp_server(&serde_json::from_value(object).unwrap()).map(drop),
    };
    outcome.map_or_else(|Invalid(problems)| problems, |()| Vec::new())
}
