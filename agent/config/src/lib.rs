//! The file between operator and agent: everything one agent process needs to know about its agents.
//!
//! The operator (or `rockbot dev`) renders it from custom resources; the agent server reads it and nothing else.
//! It never carries a secret: keys are named by the path of a file that the kubelet mounts.

mod skills;
mod storage;
mod template;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
pub use skills::{HandoffConfig, HandoffTarget, HookConfig, HookEvent, PromptConfig};
pub use storage::StorageConfig;
pub use template::{Template, VARIABLES};

/// File name of the configuration inside the agent's ConfigMap and config directory.
pub const FILE_NAME: &str = "agent.json";

/// Names that an agent cannot have, because the paths of its server begin with them.
pub const FIXED_ROUTES: [&str; 5] = ["health", "live", "metrics", "ready", "v1"];

/// Seconds that an agent's pod has, beyond its longest request, to end.
pub const SHUTDOWN_SECONDS: u32 = 10;

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
    /// Texts that join the system message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptConfig>,
    /// Webhooks at the moments of a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookConfig>,
    /// Others that the model can have take over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handoffs: Vec<HandoffConfig>,
    /// Who may ask, and what they may use.
    #[serde(default, skip_serializing_if = "AccessConfig::is_default")]
    pub access: AccessConfig,
    /// Bounds of one request, and of a day.
    #[serde(default)]
    pub limits: Limits,
    /// Where the agent's days begin, as the IANA database names it.
    #[serde(default = "utc", skip_serializing_if = "is_utc")]
    pub time_zone: String,
    /// Where it keeps what must outlive a request.
    #[serde(default, skip_serializing_if = "StorageConfig::is_default")]
    pub storage: StorageConfig,
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
    /// Base URL of the provider, for example `https://api.openai.com/v1`; the provider's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// File that holds the API key; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Sampling temperature of requests that set neither it nor `top_p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling of requests that set neither it nor `temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Upper bound of generated tokens when the request does not set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Longest silence of the provider, in seconds: until the first byte and between two of them.
    #[serde(default = "default_model_timeout_seconds")]
    pub timeout_seconds: u32,
    /// Fields that every request to the provider carries unless it has them already.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// Models that stand in when this one cannot answer, in the order in which they are asked. They have none themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<ModelConfig>,
}

/// Wire protocols that the agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// OpenAI chat completions, as served by OpenAI and by anything compatible with it.
    OpenAI,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's Gemini, by its own protocol.
    Gemini,
    /// Ollama, by its OpenAI-compatible protocol.
    Ollama,
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
    /// Python packages that a script may name; `*` stands for every one. Without any the model is not offered packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
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

/// Who may ask, and what they may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccessConfig {
    /// Whether requests without a key are answered.
    pub anonymous: bool,
    /// Keys of those who may use more than everybody.
    pub api_keys: Vec<AccessKey>,
}

/// A key, and what its holder may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKey {
    /// Name of the key, for the log.
    pub name: String,
    /// The scope that its holder has.
    pub scope: String,
    /// File that holds the key; read again when it changes.
    pub file: PathBuf,
}

impl AccessConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            anonymous: true,
            api_keys: Vec::new(),
        }
    }
}

/// Bounds of one request, and of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Rounds of tool calls before the agent must answer.
    pub max_tool_rounds: u32,
    /// Wall time of one request in seconds.
    pub request_timeout_seconds: u32,
    /// Requests that one process answers at the same time.
    pub max_concurrent_requests: u32,
    /// Tokens that all requests of a day may cost together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily_tokens: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tool_rounds: 12,
            request_timeout_seconds: 300,
            max_concurrent_requests: 1000,
            daily_tokens: None,
        }
    }
}

fn default_model_timeout_seconds() -> u32 {
    120
}

fn utc() -> String {
    "UTC".to_owned()
}

fn is_utc(zone: &str) -> bool {
    zone == "UTC"
}
