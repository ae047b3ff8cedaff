//! The file between operator and agent: everything one agent process needs to know about its agents.
//!
//! The operator (or `rockbot dev`) renders it from custom resources; the agent server reads it and nothing else.
//! It never carries a secret: keys are named by the path of a file that the kubelet mounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// File name of the configuration inside the agent's ConfigMap and config directory.
pub const FILE_NAME: &str = "agent.json";

/// One agent, as the agent server runs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// Name of the agent: its path on the server and its id in `/v1/models`.
    pub name: String,
    /// What the agent is for, in a sentence; shown in discovery. Empty when not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// System prompt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// The model that the agent thinks with.
    pub model: ModelConfig,
    /// Tools that the agent may use; an absent block is off.
    #[serde(default)]
    pub tools: ToolsConfig,
    /// Bounds of one request.
    #[serde(default)]
    pub limits: Limits,
}

/// Which model to call, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelConfig {
    /// Wire protocol of the provider.
    pub provider: Provider,
    /// Model name as the provider knows it. Empty for `Demo`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Base URL up to and excluding `/chat/completions`, for example `https://api.openai.com/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// File that holds the API key; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Sampling temperature when the request does not set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling when the request does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Upper bound of generated tokens when the request does not set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Longest silence of the provider, in seconds: until the first byte and between two of them.
    #[serde(default = "default_model_timeout_seconds")]
    pub timeout_seconds: u32,
}

/// Wire protocols that the agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// OpenAI chat completions, as served by OpenAI and by anything compatible with it.
    OpenAI,
    /// A deterministic model inside the agent: no key, no network.
    Demo,
}

/// Tools that are switched on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsConfig {
    /// `execute_python_script`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<ScriptsConfig>,
    /// MCP servers whose tools are offered as `{server}__{tool}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp: Vec<McpServerConfig>,
}

/// Settings of `execute_python_script`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptsConfig {
    /// Deadline of a script in seconds when the model names none.
    pub timeout_seconds: u32,
}

/// One MCP server that the agent connects to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpServerConfig {
    /// Name of the server: the prefix of its tools.
    pub name: String,
    /// Streamable-HTTP endpoint.
    pub url: String,
    /// The only tools that are offered; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    /// Deadline of one tool call in seconds.
    pub tool_timeout_seconds: u32,
}

/// Bounds of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Rounds of tool calls before the agent must answer.
    pub max_tool_rounds: u32,
    /// Wall time of one request in seconds.
    pub request_timeout_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tool_rounds: 12,
            request_timeout_seconds: 300,
        }
    }
}

fn default_model_timeout_seconds() -> u32 {
    120
}
