//! Packages for scripts that have no network: a *layer* is everything that a set of requirements needs, as one archive.
//!
//! An [`Installer`] makes a layer where a network is, out of wheels alone, so that no code of a package runs on the way.
//! The [`LayerStore`] checks it, keeps it, and hands it out again. Knows nothing of pods, pools or scripts.

mod archive;
mod disk;
mod failure;
mod installer;
mod layer;
mod store;
mod turns;

pub use failure::{Failure, FailureKind};
pub use installer::{Installed, Installer, Order, Wanted, converse};
pub use layer::{Digest, Layer, LayerId, Locked};
pub use store::{LayerStore, StoreSettings};

/// Most files of a layer.
pub const MAX_FILES: u64 = 20_000;
/// Most bytes of a layer's files.
pub const MAX_BYTES: u64 = 160 << 20;
/// Most bytes of a layer's archive.
pub const MAX_ARCHIVE_BYTES: u64 = 64 << 20;
/// Longest time for an installer to find, fetch and pack what a layer holds.
pub const INSTALL_DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);
