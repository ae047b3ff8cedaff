//! What came to a scenario, and what became of each answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::HeaderMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A request that came.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Its headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
    #[serde(serialize_with = "read")]
    outcome: Arc<Mutex<Outcome>>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is being written.
    Running,
    /// All of it was written.
    Sent,
    /// The client went away before.
    Dropped,
}

impl Recorded {
    pub(crate) fn new(headers: &HeaderMap, body: Value) -> Self {
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        Self {
            headers,
            body,
            outcome: Arc::new(Mutex::new(Outcome::Running)),
        }
    }

    /// What became of the answer.
    pub fn outcome(&self) -> Outcome {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.outcome))
    }
}

fn read<S: Serializer>(outcome: &Arc<Mutex<Outcome>>, serializer: S) -> Result<S::Ok, S::Error> {
    outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .serialize(serializer)
}

/// Belongs to an answer that is being written; dropping it early means that the client is gone.
pub(crate) struct Watch(Arc<Mutex<Outcome>>);

impl Watch {
    pub(crate) fn sent(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Outcome::Sent;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut outcome = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *outcome == Outcome::Running {
            *outcome = Outcome::Dropped;
        }
    }
}
