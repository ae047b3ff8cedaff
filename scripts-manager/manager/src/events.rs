//! Events about script pods that are not what they should be: told where people look for them, beside the pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::timeout;

/// Longest attempt. An Event that cannot be written is in the log, too.
const DEADLINE: Duration = Duration::from_secs(5);

/// Writes Events.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

/// What may be wrong with a pod. The names are reasons of Events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Concern {
    /// It could reach the network when it started.
    NetworkReached,
    /// It does not run scripts.
    SandboxRefused,
}

impl Events {
    pub(crate) fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: "rockbot-scripts-manager".to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Warns about `pod`.
    pub(crate) async fn warn(&self, pod: &Pod, concern: Concern, note: &str) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(pod = name, ?concern, "{note}");
        let event = Event {
            type_: EventType::Warning,
            reason: format!("{concern:?}"),
            note: Some(shortened(note)),
            action: "Starting".to_owned(),
            secondary: None,
        };
        let written = timeout(DEADLINE, self.recorder.publish(&event, &pod.object_ref(&()))).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(pod = name, %error, "an Event cannot be written"),
            Err(_) => tracing::warn!(pod = name, "an Event cannot be written in time"),
        }
    }
}

/// The API server takes at most 1024 bytes.
fn shortened(note: &str) -> String {
    note[..note.floor_char_boundary(1000)].to_owned()
}
