//! Status of a resource whose spec cannot be read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use rockbot_crds::conditions::Reason;
use serde::Deserialize;
use serde_json::{Value, json};

use super::conditions::{Conditions, State, Verdict};

/// What to report about a resource of which only its status `before` can be told: all of that stays, but for the conditions.
pub fn unreadable_status(before: &Value, generation: Option<i64>, why: &str, now: &Time) -> Value {
    let reported: Vec<Condition> = Vec::deserialize(&before["conditions"]).unwrap_or_default();
    let message = format!("{why}; this version of the operator cannot read it, and leaves what it made as it is");
    let verdict = Verdict::new(State::Stalled, Reason::InvalidSpec, message);
    let conditions = Conditions::new(&reported, generation, now)
        .verdict(&verdict)
        .into_list();
    let mut status = before.as_object().cloned().unwrap_or_default();
    status.insert("conditions".to_owned(), json!(conditions));
    if let Some(generation) = generation {
        status.insert("observedGeneration".to_owned(), json!(generation));
    }
    Value::Object(status)
}
