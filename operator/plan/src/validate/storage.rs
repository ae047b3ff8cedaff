//! Refuses storage and days that cannot be.

use rockbot_crds::{
    AgentSpec,
    storage::{Postgres, StorageType, Volume},
};

use super::Problems;
use crate::{endpoint::Endpoint, valid::Storage};

/// Checks where an agent keeps things.
pub(super) fn storage(spec: &AgentSpec, problems: &mut Problems) -> Storage {
    let storage = &spec.storage;
    if storage.volume.is_some() && storage.type_ != StorageType::Volume {
        problems.add(
            "spec.storage.volume",
            "is about the type Volume; leave it out or set spec.storage.type to Volume".into(),
        );
    }
    if storage.postgres.is_some() && storage.type_ != StorageType::Postgres {
        problems.add(
            "spec.storage.postgres",
            "is about the type Postgres; leave it out or set spec.storage.type to Postgres".into(),
        );
    }
    match (storage.type_, &storage.postgres) {
        (StorageType::Ephemeral, _) => Storage::Ephemeral,
        (StorageType::Volume, _) => volume(storage.volume.clone().unwrap_or_default(), spec.replicas, problems),
        (StorageType::Postgres, Some(spec)) => postgres(spec, problems),
        (StorageType::Postgres, None) => {
            problems.add(
                "spec.storage.postgres",
                "is required when spec.storage.type is Postgres".into(),
            );
            Storage::Ephemeral
        }
    }
}

/// Checks where an agent's days begin.
pub(super) fn time_zone(name: &str, problems: &mut Problems) {
    if jiff::tz::TimeZone::get(name).is_err() {
        problems.add(
            "spec.timeZone",
            format!("is {name:?}; allowed is a name of the IANA database, as in Europe/Paris or UTC"),
        );
    }
}

fn volume(spec: Volume, replicas: i32, problems: &mut Problems) -> Storage {
    if replicas > 1 {
        problems.add(
            "spec.replicas",
            format!(
                "is {replicas}; with spec.storage.type Volume it is at most 1, because one pod has the volume; Postgres \
                 is for more"
            ),
        );
    }
    Storage::Volume {
        size: spec.size,
        storage_class_name: spec.storage_class_name,
    }
}

fn postgres(spec: &Postgres, problems: &mut Problems) -> Storage {
    let port = spec.port.try_into().unwrap_or_default();
    let Some(endpoint) = problems.parsed("spec.storage.postgres.host", Endpoint::of(&spec.host, port)) else {
        return Storage::Ephemeral;
    };
    Storage::Postgres {
        url: spec.url.secret_key_ref.clone(),
        ca: spec.ca.as_ref().map(|ca| ca.secret_key_ref.clone()),
        host: spec.host.clone(),
        port,
        endpoint,
    }
}
