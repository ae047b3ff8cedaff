//! The children of an Agent.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, EnvVar, HTTPGetAction, KeyToPath, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodSpec, Probe, ProjectedVolumeSource,
            SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
            VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use rockbot_agent_config::{FILE_NAME, SHUTDOWN_SECONDS};
use rockbot_crds::{agent::ServiceType, model::SecretKeyRef};
use sha2::{Digest, Sha256};

use super::{
    Objects, Parent,
    config::{KeyOf, agent_config, keys},
    network, pods, telemetry,
};
use crate::{
    inputs::{References, Settings},
    labels::{CONFIG_HASH, Component},
    valid::{Storage, ValidAgent},
};

/// Port that the agent's server listens on.
pub(super) const PORT: i32 = 8080;
const CONFIG_DIR: &str = "/etc/rockbot";
const TOKEN_DIR: &str = "/var/run/rockbot/tokens";
const SECRETS_DIR: &str = "/var/run/rockbot/secrets";
const DATA_DIR: &str = "/var/lib/rockbot";
const API_KEY: &str = "api-key";
const OPERATOR: &str = "operator";
const SCRIPTS_MANAGER: &str = "scripts-manager";

/// The children of an Agent.
pub fn agent_objects(agent: &ValidAgent, named: &References, settings: &Settings) -> Objects {
    let parent = Parent {
        component: Component::Agent,
        owner: &agent.owner,
    };
    let config = config_text(agent, named);
    let (type_, port, annotations) = &agent.service;
    let mut service = parent.service(service_type(*type_), *port, PORT);
    service.metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let hash = BTreeMap::from([(CONFIG_HASH.to_owned(), short_hash(&config))]);
    Objects {
        service_account: Some(parent.service_account()),
        network_policy: Some(network::agent_policy(parent, agent, named, settings)),
        service: Some(service),
        deployment: Some(deployment(parent, agent, hash, settings)),
        volume_claim: volume_claim(parent, &agent.storage),
        config_map: Some(ConfigMap {
            metadata: parent.metadata(),
            data: Some(BTreeMap::from([(FILE_NAME.to_owned(), config)])),
            ..ConfigMap::default()
        }),
    }
}

fn deployment(
    parent: Parent<'_>,
    agent: &ValidAgent,
    annotations: BTreeMap<String, String>,
    settings: &Settings,
) -> Deployment {
    let pod = pod(parent, agent, settings);
    let deployment = pods::deployment(parent, agent.replicas, Some(annotations), pod);
    match &agent.storage {
        Storage::Volume { .. } => pods::one_at_a_time(deployment),
        Storage::Ephemeral | Storage::Postgres { .. } => deployment,
    }
}

fn volume_claim(parent: Parent<'_>, storage: &Storage) -> Option<PersistentVolumeClaim> {
    let Storage::Volume {
        size,
        storage_class_name,
    } = storage
    else {
        return None;
    };
    let spec = PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".into()]),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), size.clone())])),
            limits: None,
        }),
        storage_class_name: storage_class_name.clone(),
        ..PersistentVolumeClaimSpec::default()
    };
    Some(PersistentVolumeClaim {
        metadata: parent.metadata(),
        spec: Some(spec),
        ..PersistentVolumeClaim::default()
    })
}

fn config_text(agent: &ValidAgent, named: &References) -> String {
    // Serialising plain data to a string has no way to fail; an empty file would be refused by the agent at once.
    let config = agent_config(
        agent,
        named,
        |of, _| format!("{}/{API_KEY}", key_dir(of)).into(),
        DATA_DIR.into(),
    );
    serde_json::to_string_pretty(&config).unwrap_or_default()
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn service_type(type_: ServiceType) -> &'static str {
    match type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

fn pod(parent: Parent<'_>, agent: &ValidAgent, settings: &Settings) -> PodSpec {
    let volumes = volumes(parent, agent);
    let container = Container {
        name: "agent".into(),
        image: Some(agent.image.clone().unwrap_or_else(|| settings.agent_image.clone())),
        env: Some(environment(agent, settings)),
        ports: Some(pods::http_port(PORT)),
        resources: Some(pods::resources(agent.resources.as_ref(), ("16Mi", "128Mi"))),
        volume_mounts: Some(volumes.iter().map(|(mount, _)| mount.clone()).collect()),
        // An agent is up within a tenth of a second: asking every second shows it at once.
        startup_probe: Some(Probe {
            failure_threshold: Some(60),
            ..probe("/ready", 1)
        }),
        readiness_probe: Some(Probe {
            failure_threshold: Some(2),
            ..probe("/ready", 2)
        }),
        liveness_probe: Some(Probe {
            failure_threshold: Some(3),
            ..probe("/health", 10)
        }),
        ..Container::default()
    };
    PodSpec {
        containers: vec![container],
        volumes: Some(volumes.into_iter().map(|(_, volume)| volume).collect()),
        image_pull_secrets: pods::image_pull_secrets(agent.image_pull_secrets.as_deref(), settings),
        termination_grace_period_seconds: Some(i64::from(agent.request_timeout_seconds + SHUTDOWN_SECONDS)),
        ..PodSpec::default()
    }
}

fn environment(agent: &ValidAgent, settings: &Settings) -> Vec<EnvVar> {
    let variable = |name: &str, value: String| EnvVar {
        name: name.into(),
        value: Some(value),
        value_from: None,
    };
    let mut environment = vec![
        variable("ROCKBOT_CONFIG", format!("{CONFIG_DIR}/{FILE_NAME}")),
        variable("ROCKBOT_LISTEN", format!("0.0.0.0:{PORT}")),
        variable("ROCKBOT_NAMESPACE", agent.owner.namespace.clone()),
        variable("ROCKBOT_OPERATOR_URL", settings.operator_url.clone()),
        variable("ROCKBOT_OPERATOR_TOKEN_FILE", format!("{TOKEN_DIR}/{OPERATOR}")),
    ];
    if agent.scripts.is_some() {
        environment.extend([
            variable("ROCKBOT_SCRIPTS_MANAGER_URL", settings.scripts_manager_url.clone()),
            variable(
                "ROCKBOT_SCRIPTS_MANAGER_TOKEN_FILE",
                format!("{TOKEN_DIR}/{SCRIPTS_MANAGER}"),
            ),
        ]);
    }
    let telemetry = settings.telemetry.iter();
    environment.extend(telemetry.flat_map(|telemetry| telemetry::variables(&agent.owner, telemetry)));
    environment
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn volumes(parent: Parent<'_>, agent: &ValidAgent) -> Vec<(VolumeMount, Volume)> {
    let config = Volume {
        config_map: Some(ConfigMapVolumeSource {
            name: parent.child_name(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mut volumes = vec![
        mounted("config", CONFIG_DIR, config),
        mounted("tokens", TOKEN_DIR, tokens(agent.scripts.is_some())),
    ];
    volumes.extend(keys(agent).into_iter().map(|(of, key)| key_volume(of, key)));
    if let Storage::Volume { .. } = &agent.storage {
        volumes.push(data_volume(parent));
    }
    volumes
}

fn data_volume(parent: Parent<'_>) -> (VolumeMount, Volume) {
    let claim = PersistentVolumeClaimVolumeSource {
        claim_name: parent.child_name(),
        read_only: None,
    };
    let volume = Volume {
        persistent_volume_claim: Some(claim),
        ..Volume::default()
    };
    let (mount, volume) = mounted("data", DATA_DIR, volume);
    let writable = VolumeMount {
        read_only: None,
        ..mount
    };
    (writable, volume)
}

fn key_volume(of: KeyOf<'_>, SecretKeyRef { name, key }: &SecretKeyRef) -> (VolumeMount, Volume) {
    let secret = SecretVolumeSource {
        secret_name: Some(name.clone()),
        items: Some(vec![KeyToPath {
            key: key.clone(),
            path: API_KEY.into(),
            ..KeyToPath::default()
        }]),
        ..SecretVolumeSource::default()
    };
    let volume = Volume {
        secret: Some(secret),
        ..Volume::default()
    };
    mounted(&key_name(of), &key_dir(of), volume)
}

fn key_name(of: KeyOf<'_>) -> String {
    match of {
        KeyOf::Model(0) => "model".into(),
        KeyOf::Model(position) => format!("fallback-{position}"),
        KeyOf::Database => "database".into(),
        KeyOf::DatabaseCa => "database-ca".into(),
        KeyOf::Caller(name) => format!("caller-{name}"),
        KeyOf::Hook(name) => format!("hook-{name}"),
        KeyOf::Handoff(name) => format!("handoff-{name}"),
        KeyOf::HandoffSigning(name) => format!("signing-{name}"),
    }
}

fn key_dir(of: KeyOf<'_>) -> String {
    format!("{SECRETS_DIR}/{}", key_name(of))
}

/// Tokens that are worth nothing to the Kubernetes API: each has one of our services as its only audience.
fn tokens(scripts: bool) -> Volume {
    let token = |service: &str| VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(format!("rockbot-{service}")),
            expiration_seconds: Some(3600),
            path: service.to_owned(),
            ..ServiceAccountTokenProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let mut sources = vec![token(OPERATOR)];
    if scripts {
        sources.push(token(SCRIPTS_MANAGER));
    }
    Volume {
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mounted(name: &str, path: &str, volume: Volume) -> (VolumeMount, Volume) {
    let mount = VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (
        mount,
        Volume {
            name: name.into(),
            ..volume
        },
    )
}
