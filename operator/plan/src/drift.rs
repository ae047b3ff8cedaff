//! Whether a live object still is what was asked for.
//!
//! The API server fills in defaults, rewrites quantities and keeps what others add; none of that is drift. Drift is a field
//! that we set and that now says something else. What we once set and set no longer shows in the hash of the whole object
//! that each object carries as an annotation.

use std::cmp::Ordering;

use kube_core::Resource;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{labels::APPLIED_HASH, quantity};

/// Fields that are one value to the API server: an addition to them is a change.
const ATOMIC: [&str; 5] = ["selector", "podSelector", "namespaceSelector", "ingress", "egress"];
/// Fields that tell the items of a list apart, where the API server merges the list.
const KEYS: [&str; 4] = ["name", "mountPath", "uid", "containerPort"];
/// Fields whose values are quantities.
const QUANTITIES: [&str; 3] = ["requests", "limits", "sizeLimit"];

/// Notes the hash of an object in it.
pub fn seal<K: Resource + Serialize>(mut object: K) -> K {
    let text = serde_json::to_vec(&object).unwrap_or_default();
    let hash = Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    object
        .meta_mut()
        .annotations
        .get_or_insert_default()
        .insert(APPLIED_HASH.to_owned(), hash);
    object
}

/// Whether everything that a sealed object asks for is so in the live one.
pub fn is_up_to_date<K: Serialize>(desired: &K, live: &K) -> bool {
    match (serde_json::to_value(desired), serde_json::to_value(live)) {
        (Ok(desired), Ok(live)) => covers("", &desired, &live),
        _ => false,
    }
}

fn covers(field: &str, desired: &Value, live: &Value) -> bool {
    if ATOMIC.contains(&field) {
        return desired == live;
    }
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => covers_fields(field, desired, live),
        (Value::Array(desired), Value::Array(live)) => covers_items(field, desired, live),
        (Value::String(desired), Value::String(live)) if QUANTITIES.contains(&field) => {
            quantity::compare(desired, live) == Some(Ordering::Equal)
        }
        _ => desired == live,
    }
}

fn covers_fields(field: &str, desired: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    desired.iter().all(|(name, desired)| {
        // The entries of a map of quantities are quantities, whatever they are called.
        let field = if QUANTITIES.contains(&field) { field } else { name };
        live.get(name).is_some_and(|live| covers(field, desired, live))
    })
}

fn covers_items(field: &str, desired: &[Value], live: &[Value]) -> bool {
    let key = KEYS
        .into_iter()
        .find(|&key| !desired.is_empty() && desired.iter().all(|item| item.get(key).is_some()));
    match key {
        Some(key) => desired.iter().all(|item| {
            live.iter()
                .find(|other| other.get(key) == item.get(key))
                .is_some_and(|other| covers(field, item, other))
        }),
        None => {
            desired.len() == live.len()
                && desired
                    .iter()
                    .zip(live)
                    .all(|(desired, live)| covers(field, desired, live))
        }
    }
}

#[cfg(test)]
mod tests;
