//! The API of RockBot: the custom resources of `rockbot.dev/v1alpha1`, their conditions, and their definitions as YAML.
//!
//! A comment on a field is what `kubectl explain` shows; a bound or a rule on it is what the API server enforces. Nothing
//! here knows a client, or what becomes of a resource.

pub mod access;
pub mod agent;
pub mod conditions;
pub mod mcp_server;
pub mod model;
mod resources;
pub mod skills;
pub mod storage;
#[cfg(test)]
mod tests;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

pub use agent::{Agent, AgentSpec, AgentStatus};
pub use mcp_server::{McpServer, McpServerSpec, McpServerStatus};
pub use resources::Resources;

/// API group of every resource.
pub const GROUP: &str = "rockbot.dev";

/// The definitions of all resources, in the order in which they are documented.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [Agent::crd(), McpServer::crd()]
}

/// One definition as YAML, with the note that it is generated.
///
/// # Errors
/// When it cannot be written as YAML, which the tests rule out for every definition there is.
pub fn to_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    Ok(format!(
        "# Generated from crds/src; do not edit.\n{}",
        serde_yaml::to_string(definition)?
    ))
}
