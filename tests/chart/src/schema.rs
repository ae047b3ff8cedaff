//! Reads a chart's `values.schema.json`: which values it allows, and whether it allows only those.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

/// Paths of all values that `schema` declares, sections included.
///
/// # Errors
/// When a `$ref` leads nowhere.
pub fn paths(schema: &Value) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    collect(schema, schema, "", &mut found)?;
    Ok(found)
}

/// Places where `schema` declares properties and does not refuse others.
pub fn open_objects(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit(schema, "", &mut |node, path| {
        if node.get("properties").is_some() && node.get("additionalProperties") != Some(&Value::Bool(false)) {
            found.push(path.to_owned());
        }
    });
    found
}

fn collect(root: &Value, node: &Value, path: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let node = resolve(root, node)?;
    for (key, below) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        found.insert(path.clone());
        collect(root, below, &path, found)?;
    }
    Ok(())
}

fn resolve<'a>(root: &'a Value, node: &'a Value) -> Result<&'a Value> {
    match node.get("$ref").and_then(Value::as_str) {
        Some(target) => root
            .pointer(target.trim_start_matches('#'))
            .with_context(|| format!("values.schema.json: {target} leads nowhere")),
        None => Ok(node),
    }
}

fn visit(node: &Value, path: &str, seen: &mut impl FnMut(&Value, &str)) {
    seen(node, path);
    for (key, below) in node.as_object().into_iter().flatten() {
        visit(below, &format!("{path}/{key}"), seen);
    }
}
