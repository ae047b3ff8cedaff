//! What an agent's manifest declares without code: prompts, hooks that are webhooks, and handoffs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Scope that every caller holds.
const ALL: &str = "all";

/// Text that joins the system message of each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptConfig {
    /// Name, for the log.
    pub name: String,
    /// The lower comes first.
    pub priority: i32,
    /// For whose requests it speaks.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub scope: String,
    /// The text, as a [`Template`](crate::Template).
    pub template: String,
}

/// A webhook that is called at one of the moments of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookConfig {
    /// Name, for the log and for errors.
    pub name: String,
    /// When it is called.
    pub event: HookEvent,
    /// The higher runs first.
    pub priority: i32,
    /// For whose requests it is called.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub scope: String,
    /// Where it is.
    pub url: String,
    /// How long a call may take, in seconds.
    pub timeout_seconds: u32,
    /// Whether what the hook is about fails with it.
    #[serde(default)]
    pub must_succeed: bool,
    /// File with the key that signs calls; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_file: Option<PathBuf>,
}

/// Moments of a request at which a webhook can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// The request begins.
    OnConnection,
    /// The model has said a whole message.
    OnMessage,
    /// A tool is about to run.
    BeforeToolcall,
    /// The model is about to read the result of a tool.
    AfterToolcall,
    /// A handoff is about to happen.
    BeforeHandoff,
    /// The model is about to read what became of a handoff.
    AfterHandoff,
    /// The request is over.
    FinalizeConnection,
}

/// A tool of the model's by which somebody else takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandoffConfig {
    /// Name by which the model calls it.
    pub name: String,
    /// What it is for, in words for the model.
    pub description: String,
    /// For whose requests it is offered and runs.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub scope: String,
    /// How long it may take, in seconds.
    pub timeout_seconds: u32,
    /// Who takes over.
    pub to: HandoffTarget,
}

/// Who takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum HandoffTarget {
    /// Another agent of the same namespace.
    Agent {
        /// Its name.
        name: String,
        /// File with a key that it accepts; read again when it changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_file: Option<PathBuf>,
    },
    /// Whoever talks to the agent.
    Human,
    /// An HTTP service.
    Service {
        /// Where it is.
        url: String,
        /// File with the key that is sent to it; read again when it changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_file: Option<PathBuf>,
        /// File with the key that signs requests; read again when it changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signing_key_file: Option<PathBuf>,
    },
}

fn all() -> String {
    ALL.to_owned()
}

fn is_all(scope: &String) -> bool {
    scope == ALL
}
