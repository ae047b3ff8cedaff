//! Refuses storage and days that cannot be.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
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

/// Checks the tokens of a day.
pub(super) fn daily_tokens(tokens: Option<i64>, problems: &mut Problems) -> Option<u64> {
    let tokens = tokens?;
    let valid = u64::try_from(tokens).ok().filter(|tokens| *tokens > 0);
    if valid.is_none() {
        problems.add("spec.limits.dailyTokens", format!("is {tokens}; it must be at least 1"));
    }
    valid
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
    let Quantity(size) = &spec.size;
    let unit = size.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if size.starts_with('0') || unit.len() == size.len() || !UNITS.contains(&unit) {
        problems.add(
            "spec.storage.volume.size",
            format!("is {size:?}; allowed is a number of bytes, as in 500Mi or 10Gi"),
        );
    }
    Storage::Volume {
        size: spec.size,
        storage_class_name: spec.storage_class_name,
    }
}

const UNITS: [&str; 13] = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

fn postgres(spec: &Postgres, problems: &mut Problems) -> Storage {
    let port = problems.bounded("spec.storage.postgres.port", spec.port, 1..=65535);
    let port = u16::try_from(port).unwrap_or_default();
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
