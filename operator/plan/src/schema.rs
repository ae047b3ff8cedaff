//! What the definitions say about single fields: bounds, patterns, what may be there once. The API server refuses by them
//! first; here they refuse what it has not seen, by the same text.

use std::{collections::BTreeSet, sync::LazyLock};

use jsonschema::{Keyword, ValidationError, Validator, error::ValidationErrorKind, paths::Location};
use kube_core::CustomResourceExt;
use rockbot_crds::{Agent, AgentSpec, McpServer, McpServerSpec, model::SecretKeyRef};
use schemars::schema_for;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::validate::Problem;

/// A schema that can be asked, or why it is none.
type Schema = Result<Validator, String>;

static AGENT: LazyLock<Schema> = LazyLock::new(of_spec::<Agent>);
static MCP_SERVER: LazyLock<Schema> = LazyLock::new(of_spec::<McpServer>);
static SECRET_KEY: LazyLock<Schema> = LazyLock::new(|| compile(schema_for!(SecretKeyRef).as_value()));

/// What is wrong with single fields of an Agent.
pub(crate) fn agent(spec: &AgentSpec) -> Vec<Problem> {
    problems(&AGENT, "spec", spec)
}

/// What is wrong with single fields of an McpServer.
pub(crate) fn mcp_server(spec: &McpServerSpec) -> Vec<Problem> {
    problems(&MCP_SERVER, "spec", spec)
}

/// What is wrong with the name of a Secret or of a key in it. They are names of files for `rockbot dev`.
pub(crate) fn secret_key(key: &SecretKeyRef) -> Vec<Problem> {
    problems(&SECRET_KEY, "", key)
}

fn of_spec<K: CustomResourceExt>() -> Schema {
    let schema = serde_json::to_value(K::crd().spec.versions).map_err(|error| error.to_string())?;
    let spec = schema.pointer("/0/schema/openAPIV3Schema/properties/spec");
    compile(spec.ok_or("the definition describes no spec")?)
}

fn compile(schema: &Value) -> Schema {
    jsonschema::options()
        .with_keyword("x-kubernetes-list-type", items)
        .build(schema)
        .map_err(|error| error.to_string())
}

fn problems(schema: &Schema, root: &str, value: &impl Serialize) -> Vec<Problem> {
    let schema = match schema {
        Ok(schema) => schema,
        // The tests rule it out for every definition that there is.
        Err(error) => return vec![problem(root, format!("cannot be checked: {error}"))],
    };
    // What cannot be written as JSON is nothing, which no schema of ours lets pass.
    let value = serde_json::to_value(value).unwrap_or_default();
    let errors = schema.iter_errors(&value);
    errors
        .map(|error| {
            let field = field(root, error.instance_path().as_str());
            problem(&field, message(&error))
        })
        .collect()
}

/// What is wrong, without the value: that may be a secret in the wrong place.
fn message(error: &ValidationError<'_>) -> String {
    // A definition has its bounds as numbers with a point.
    let plain = |limit: &Value| limit.as_f64().unwrap_or_default();
    match error.kind() {
        ValidationErrorKind::Minimum { limit } => format!("must be at least {}", plain(limit)),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {}", plain(limit)),
        _ => error.masked_with("").to_string().trim_start().to_owned(),
    }
}

fn problem(field: &str, message: String) -> Problem {
    Problem {
        field: field.to_owned(),
        message,
    }
}

/// `/hooks/0/url` as people write it: `spec.hooks[0].url`.
fn field(root: &str, pointer: &str) -> String {
    let mut field = root.to_owned();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|letter| letter.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            let dot = if field.is_empty() { "" } else { "." };
            field.push_str(&format!("{dot}{}", part.replace("~1", "/").replace("~0", "~")));
        }
    }
    field
}

/// What no two items of a list may have in common.
enum Items {
    /// Nothing.
    Any,
    /// All of it.
    Set,
    /// One field.
    Map(String),
}

/// What Kubernetes says about lists, of which JSON Schema knows nothing.
fn items<'a>(
    schema: &'a Map<String, Value>,
    list_type: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    let key = || {
        schema
            .get("x-kubernetes-list-map-keys")
            .and_then(|keys| keys[0].as_str())
    };
    Ok(Box::new(match (list_type.as_str(), key()) {
        (Some("set"), _) => Items::Set,
        (Some("map"), Some(key)) => Items::Map(key.to_owned()),
        _ => Items::Any,
    }))
}

impl Items {
    fn twice(&self, list: &Value) -> Option<String> {
        let mut seen = BTreeSet::new();
        let identity = |item: &Value| match self {
            Self::Any => None,
            Self::Set => Some(item.to_string()),
            Self::Map(key) => item.get(key).map(Value::to_string),
        };
        let mut identities = list.as_array().into_iter().flatten().filter_map(identity);
        identities.find(|identity| !seen.insert(identity.clone()))
    }
}

impl<'i> Keyword<'i> for Items {
    fn validate(&self, list: &'i Value) -> Result<(), ValidationError<'i>> {
        let twice = self.twice(list);
        twice.map_or(Ok(()), |item| {
            Err(ValidationError::custom(format!("names {item} twice; name each once")))
        })
    }

    fn is_valid(&self, list: &'i Value) -> bool {
        self.twice(list).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_can_be_asked() {
        for schema in [&AGENT, &MCP_SERVER, &SECRET_KEY] {
            assert!(schema.is_ok(), "{:?}", schema.as_ref().err());
        }
    }

    /// They are joined to the path of a folder.
    #[test]
    fn names_of_secrets_and_keys_are_those_that_kubernetes_takes() {
        for (name, key, wrong) in [
            ("s", "k", None),
            ("a.b-c.d", ".dot_Key-1.pem", None),
            ("", "k", Some("name")),
            ("..", "k", Some("name")),
            ("a..b", "k", Some("name")),
            ("/tmp", "k", Some("name")),
            ("A", "k", Some("name")),
            ("s", "", Some("key")),
            ("s", ".", Some("key")),
            ("s", "..", Some("key")),
            ("s", "..data", Some("key")),
            ("s", "/home/me/.vault-token", Some("key")),
            ("s", "../k", Some("key")),
            ("s", "k\n", Some("key")),
        ] {
            let (name, key) = (name.to_owned(), key.to_owned());
            let found = secret_key(&SecretKeyRef { name, key });
            let fields: BTreeSet<_> = found.iter().map(|problem| problem.field.as_str()).collect();
            assert_eq!(fields, wrong.into_iter().collect(), "{found:?}");
        }
    }

    #[test]
    fn a_field_is_written_as_people_write_it() {
        assert_eq!(field("spec", "/hooks/0/url"), "spec.hooks[0].url");
        assert_eq!(
            field("spec", "/service/annotations/a~1b"),
            "spec.service.annotations.a/b"
        );
        assert_eq!(field("", "/key"), "key");
    }
}
