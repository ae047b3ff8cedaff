//! Writes a status when it differs from the one that is there, and tells of a transition with an Event.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        events::{Event, EventType},
        reflector::ObjectRef,
    },
};
use rockbot_operator_plan::{FIELD_MANAGER, Transition, transition};
use serde::Serialize;
use tracing::{info, warn};

use crate::{apply::until_visible, context::Context, object::Object, watches::Parent};

/// A status on its way to the API server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusPatch<'a, S> {
    api_version: Cow<'static, str>,
    kind: Cow<'static, str>,
    metadata: ObjectMeta,
    status: &'a S,
}

/// Writes `after` if it is not what `before` says. An object that is gone, or another one by now, is left alone.
pub(crate) async fn write_status<K: Parent, S: Serialize + PartialEq + std::fmt::Debug>(
    context: &Context,
    object: &impl Resource<DynamicType = ()>,
    before: Option<&S>,
    after: &S,
) -> Result<(), Box<kube::Error>> {
    if before == Some(after) {
        return Ok(());
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let patch = StatusPatch {
        api_version: K::api_version(&()),
        kind: K::kind(&()),
        // The identity keeps the status of a deleted object off a new one of the same name.
        metadata: ObjectMeta {
            name: Some(name.clone()),
            uid: object.uid(),
            ..ObjectMeta::default()
        },
        status: after,
    };
    let api: Api<Object<K>> = Api::namespaced(context.shared.client.clone(), &namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    context
        .shared
        .metrics
        .wrote("patch", &format!("{}/status", K::plural(&())));
    match api.patch_status(&name, &parameters, &Patch::Apply(patch)).await {
        Ok(written) => {
            let (store, key) = (
                K::store(&context.shared.stores),
                ObjectRef::new(&name).within(&namespace),
            );
            let seen = || store.get(&key).and_then(|seen| seen.resource_version());
            until_visible(seen, &written, object.resource_version()).await;
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Box::new(error)),
    }
}

/// Tells of a transition of `Ready`. An Event that cannot be written is worth a log line, and no more.
pub(crate) async fn tell<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    before: &[Condition],
    after: &[Condition],
) {
    let Some(Transition {
        is_warning,
        reason,
        message,
    }) = transition(before, after)
    else {
        return;
    };
    info!(kind = %K::kind(&()), namespace = object.namespace(), name = object.name_any(), reason, message, "transition");
    let event = Event {
        type_: if is_warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason,
        note: Some(message.chars().take(1000).collect()),
        action: "Reconcile".into(),
        secondary: None,
    };
    context.shared.metrics.wrote("create", "events");
    if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
        warn!(error = &error as &dyn std::error::Error, "cannot write an Event");
    }
}
