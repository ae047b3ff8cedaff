//! What the end-to-end tests share: a cluster, namespaces that clean up after themselves, waiting, and clients.
//!
//! Knows the product only from outside, as its users do: through `kubectl`, `helm`, the Kubernetes API and HTTP. No
//! product crate is imported here.

pub mod chat;
pub mod cluster;
pub mod fixtures;
pub mod http_conformance;
pub mod identity;
pub mod link;
pub mod manager;
pub mod model;
pub mod namespace;
pub mod node;
pub mod parts;
pub mod process;
pub mod release;
pub mod sdk;
pub mod service;
pub mod settings;
pub mod volume;
pub mod wait;

pub use cluster::Cluster;
pub use namespace::{Namespace, in_namespace};
pub use settings::Settings;
pub use wait::eventually;
