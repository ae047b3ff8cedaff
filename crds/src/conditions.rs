//! Conditions of a status: their types, their reasons, and how to find one.
//!
//! `Ready` alone says whether a resource works. `Reconciling` and `Stalled` are there only while they are true, as kstatus
//! reads them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// It does what its spec says, now.
    Ready,
    /// Everything that it names exists and is ready.
    ResolvedRefs,
    /// It is on the way to what its spec says. Absent otherwise.
    Reconciling,
    /// It will not get there unless something is changed. Absent otherwise.
    Stalled,
}

impl ConditionType {
    /// The type as a condition carries it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Enough pods serve.
    Available,
    /// Pods are being started or replaced.
    Progressing,
    /// The spec asks for no pods.
    ScaledToZero,
    /// The pods do not come up.
    RolloutFailed,
    /// The spec contradicts itself.
    InvalidSpec,
    /// An object that somebody else made has the name of a child.
    NameConflict,
    /// The API server refused a child.
    ApplyFailed,
    /// Everything that is named exists and is ready.
    Resolved,
    /// An McpServer that is named does not exist.
    McpServerNotFound,
    /// An McpServer that is named is not ready.
    McpServerNotReady,
    /// An Agent that is named does not exist.
    AgentNotFound,
    /// The MCP server answers and its tools are known.
    ServerDiscovered,
    /// The MCP server was not asked for its tools yet.
    Discovering,
    /// The MCP server does not answer as one.
    DiscoveryFailed,
}

impl Reason {
    /// The reason as a condition and an event carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::ScaledToZero => "ScaledToZero",
            Self::RolloutFailed => "RolloutFailed",
            Self::InvalidSpec => "InvalidSpec",
            Self::NameConflict => "NameConflict",
            Self::ApplyFailed => "ApplyFailed",
            Self::Resolved => "Resolved",
            Self::McpServerNotFound => "McpServerNotFound",
            Self::McpServerNotReady => "McpServerNotReady",
            Self::AgentNotFound => "AgentNotFound",
            Self::ServerDiscovered => "ServerDiscovered",
            Self::Discovering => "Discovering",
            Self::DiscoveryFailed => "DiscoveryFailed",
        }
    }
}

/// The condition of a type, if it is there.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether the condition of a type is true.
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}
