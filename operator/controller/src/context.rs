//! What a reconcile needs beside the object: made anew for each term of leadership.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Client,
    api::DynamicObject,
    runtime::{
        events::{Recorder, Reporter},
        reflector::ObjectRef,
    },
};
use rockbot_operator_plan::{FIELD_MANAGER, Settings, backoff};

use crate::{discovery::Discoveries, metrics::Metrics, watches::Stores};

/// What every process has, leader or not.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) stores: Stores,
    pub(crate) metrics: Metrics,
    pub(crate) pod_name: String,
}

/// What the leader has.
pub(crate) struct Context {
    pub(crate) shared: Shared,
    pub(crate) recorder: Recorder,
    pub(crate) discoveries: Discoveries,
    pub(crate) failures: Failures,
}

impl Context {
    pub(crate) fn new(shared: Shared, discoveries: Discoveries) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: Some(shared.pod_name.clone()),
        };
        Self {
            recorder: Recorder::new(shared.client.clone(), reporter),
            shared,
            discoveries,
            failures: Failures::default(),
        }
    }
}

/// How often each object failed in a row.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<ObjectRef<DynamicObject>, u32>>);

impl Failures {
    /// One more; returns how long to wait.
    pub(crate) fn add(&self, object: ObjectRef<DynamicObject>) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object).or_default();
        *count = count.saturating_add(1);
        backoff(*count, rand::random())
    }

    /// It succeeded, or is gone.
    pub(crate) fn clear(&self, object: &ObjectRef<DynamicObject>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}
