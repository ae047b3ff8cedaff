//! Checks of the Helm charts without a cluster: the real `helm` renders them, and the tests read the parsed objects.
//!
//! Knows nothing of what the programs do with their flags; the end-to-end tests install the charts for that.

pub mod helm;
pub mod manifest;
pub mod restricted;
pub mod schema;
pub mod values;

use std::path::PathBuf;

/// A path inside the repository.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// Whether generated files are to be written instead of compared (`UPDATE=1`).
pub fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}
