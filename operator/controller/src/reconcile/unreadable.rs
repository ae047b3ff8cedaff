//! Reports an object that this version cannot read. Its children stay as they are until one can.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt, runtime::controller::Action};
use rockbot_operator_plan::unreadable_status;
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use super::{ReconcileError, agent::now};
use crate::{
    context::Context,
    object::{Object, Unreadable},
    watches::Parent,
    write_status::{tell, write_status},
};

pub(super) async fn reconcile<K: Parent>(
    object: &Object<K>,
    unreadable: &Unreadable,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let why = &unreadable.why;
    warn!(kind = %K::kind(&()), namespace = object.namespace(), name = object.name_any(), why, "it cannot be read");
    let before = unreadable.status();
    let after = unreadable_status(before, object.meta().generation, why, &now());
    let written = write_status::<K, _>(&context, object, Some(before), &after).await;
    // Also when an object that no definition lets pass can have no status.
    tell(&context, object, &conditions(before), &conditions(&after)).await;
    written?;
    Ok(Action::await_change())
}

fn conditions(status: &Value) -> Vec<Condition> {
    Vec::deserialize(&status["conditions"]).unwrap_or_default()
}
