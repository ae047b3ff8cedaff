//! How agents are told to send traces and metrics: by OpenTelemetry's own variables.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use rockbot_crds::model::SecretKeyRef;

use crate::{inputs::TelemetrySettings, names, valid::Owner};

/// The variables of an agent's pods. The Secret may be missing: an agent works without being observed.
pub(super) fn variables(agent: &Owner, telemetry: &TelemetrySettings) -> Vec<EnvVar> {
    let variable = |name: &str, value: String| EnvVar {
        name: name.into(),
        value: Some(value),
        value_from: None,
    };
    let given = telemetry.variables.iter();
    let mut variables: Vec<_> = given.map(|(name, value)| variable(name, value.clone())).collect();
    variables.push(variable("OTEL_SERVICE_NAME", names::agent_child(&agent.name)));
    variables.push(variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        format!("k8s.namespace.name={}", agent.namespace),
    ));
    variables.extend(telemetry.headers.as_ref().map(headers));
    variables
}

fn headers(SecretKeyRef { name, key }: &SecretKeyRef) -> EnvVar {
    let key = SecretKeySelector {
        name: name.clone(),
        key: key.clone(),
        optional: Some(true),
    };
    EnvVar {
        name: "OTEL_EXPORTER_OTLP_HEADERS".into(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(key),
            ..EnvVarSource::default()
        }),
    }
}
