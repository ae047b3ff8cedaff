//! What the operator decides: custom resources in, Kubernetes objects and status out.
//!
//! Nothing here awaits, reads a clock or talks to anybody, and nothing fails after validation: a `ValidAgent` can always
//! be built. `rockbot dev` makes its configuration with the same functions.

mod build;
mod claim;
mod drift;
mod endpoint;
mod inputs;
mod labels;
mod names;
mod ownership;
mod quantity;
mod retry;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod valid;
mod validate;

pub use build::{KeyOf, Objects, agent_config, agent_objects, keys, mcp_server_objects};
pub use claim::never_smaller;
pub use drift::{is_up_to_date, seal};
pub use endpoint::{Endpoint, Reach};
pub use inputs::{References, Resolution, Server, Settings, TelemetrySettings, resolve};
pub use labels::MANAGED_SELECTOR;
pub use names::{FIELD_MANAGER, agent_url, mcp_server_url};
pub use ownership::{Ownership, ownership};
pub use retry::backoff;
pub use status::{
    Discovered, Discovery, Outcome, Transition, agent_status, mcp_server_status, pods_are_ready, tool_names,
    transition, unreadable_status,
};
pub use valid::{
    Handoff, HandoffTo, Hook, Model, Owner, Sampling, Skills, Storage, Transport, ValidAgent, ValidMcpServer,
};
pub use validate::{Invalid, Problem, validate_agent, validate_mcp_server, validate_secret};
