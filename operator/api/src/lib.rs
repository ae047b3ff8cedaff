//! The operator's HTTP API for agents: audience, wire types, and a client.
//!
//! `GET /v1/agents` lists the agents of the caller's namespace, `GET /v1/agents/{namespace}/{name}` returns one.
//! The caller is the Agent that its ServiceAccount token names; other namespaces are not its business.

mod client;

pub use client::{Client, ClientError, ClientSettings};
use serde::{Deserialize, Serialize};

/// Audience of the tokens that the operator accepts.
pub const AUDIENCE: &str = "rockbot-operator";

/// Body of `GET /v1/agents`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentList {
    /// Agents of the caller's namespace, by name.
    pub agents: Vec<AgentSummary>,
}

/// One agent, as other agents see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it answers: append `/chat/completions`.
    pub url: String,
    /// Tools that it has, as `kubectl get agents` shows them.
    pub tools: Vec<String>,
    /// Whether it can answer now.
    pub ready: bool,
}

/// Body of every response with an error status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The error inside [`ErrorBody`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// `unauthenticated`, `forbidden`, `not_found`, `internal`.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
}
