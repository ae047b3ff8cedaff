//! `Agent`: a model with instructions and tools, behind an OpenAI-compatible endpoint.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Resources,
    access::Access,
    model::{Model, PullSecret},
    skills::{Handoff, Hook, Prompt},
    storage::Storage,
};

/// What the agent is and what it may do.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "rockbot.dev",
    version = "v1alpha1",
    kind = "Agent",
    plural = "agents",
    namespaced,
    status = "AgentStatus",
    derive = "PartialEq",
    category = "rockbot",
    doc = "An AI agent: a model with instructions and tools, served as an OpenAI-compatible endpoint by pods that hold no permissions.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Model", type_ = "string", json_path = ".status.model"),
    printcolumn(name = "Tools", type_ = "string", json_path = ".status.tools"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$')").message(
        "metadata.name must be at most 50 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
    ),
    validation = Rule::new("!(self.metadata.name in ['health', 'live', 'metrics', 'ready', 'v1'])").message(
        "metadata.name is a fixed route of the agent's server; health, live, metrics, ready and v1 cannot be agents"
    ),
    validation = Rule::new("self.spec.storage.type != 'Volume' || self.spec.replicas <= 1").message(
        "storage.type Volume needs replicas of at most 1: one pod has the volume; Postgres is for more"
    ),
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
    attr = r#"x_kube(crates(kube_core = "::kube_core"))"#
)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// What the agent is for, in a sentence. Other agents and their models read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// System prompt: who the agent is and how it should answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub instructions: Option<String>,
    /// The model that the agent thinks with.
    pub model: Model,
    /// Tools that the agent may use. A block that is absent is off.
    #[serde(default)]
    pub tools: Tools,
    /// Texts that join the system message, after the instructions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub prompts: Vec<Prompt>,
    /// Webhooks that the agent calls at the moments of a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub hooks: Vec<Hook>,
    /// Others that the model can have take over: agents, whoever talks to the agent, services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub handoffs: Vec<Handoff>,
    /// Who may ask, and what they may use.
    #[serde(default)]
    pub access: Access,
    /// Bounds of one request, and of a day.
    #[serde(default)]
    pub limits: Limits,
    /// Where the agent's days begin: a name of the IANA database, such as `Europe/Paris`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][-+_/A-Za-z0-9]*$"))]
    pub time_zone: String,
    /// Where it keeps what must outlive a request: stored responses, and the tokens of the day.
    #[serde(default)]
    pub storage: Storage,
    /// Number of pods.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory of each pod. Defaults to requests of 10m and 16Mi, and a memory limit of 128Mi; a default gives way to what
    /// is given on the other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Image to run instead of the one that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub image: Option<String>,
    /// Secrets with credentials for the registry of the image, instead of those that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Option<Vec<PullSecret>>,
    /// The Service in front of the pods.
    #[serde(default)]
    pub service: Service,
}

/// Tools of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// `execute_python_script`: Python that the model writes, each run in a new pod without a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts: Option<Scripts>,
    /// Tools of MCP servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<Mcp>,
}

/// Settings of `execute_python_script`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scripts {
    /// Seconds that a script may run when the model names no deadline.
    #[serde(default = "script_timeout")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: i32,
    /// Packages that scripts may use beyond the standard library. None when it is absent; the installation has to allow
    /// packages, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
}

/// Python packages of scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packages {
    /// Names that scripts may ask for, as the package index has them; `*` is every one. What a package needs comes with it.
    #[schemars(length(min = 1, max = 256))]
    #[schemars(inner(
        length(min = 1, max = 128),
        regex(pattern = r"^(\*|[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)$")
    ))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<String>,
}

/// MCP servers of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mcp {
    /// Servers whose tools the agent may call. Each tool is offered as `SERVER__TOOL`.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub servers: Vec<McpServerRef>,
}

/// An McpServer that the agent uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerRef {
    /// Name of an McpServer in the agent's namespace.
    #[schemars(length(min = 1, max = 50), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The only tools of the server that this agent may call. All that the server allows, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_tools: Option<Vec<String>>,
}

/// Bounds of one request, and of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Rounds of tool calls before the agent must answer.
    #[schemars(range(min = 1, max = 100))]
    pub max_tool_rounds: i32,
    /// Seconds that one request may take in all.
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_seconds: i32,
    /// Requests that one pod answers at the same time. Further ones are told to come back.
    #[schemars(range(min = 1, max = 100000))]
    pub max_concurrent_requests: i32,
    /// Tokens that all requests of a day may cost together, as the provider counts them. A request that has begun is
    /// answered; further ones are told to come back when the next day begins in `timeZone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub daily_tokens: Option<i64>,
}

/// The Service in front of an agent's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Who can reach it: those in the cluster whom the agent's NetworkPolicy lets in, or everybody, through a port of each node
    /// or through a load balancer.
    #[serde(rename = "type")]
    pub type_: ServiceType,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Annotations of the Service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// Types of Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address inside the cluster.
    ClusterIP,
    /// Also a port of every node.
    NodePort,
    /// Also a load balancer outside the cluster.
    LoadBalancer,
}

/// What became of an Agent. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`; `ResolvedRefs` when the agent names other resources; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where the agent answers inside the cluster: append `/chat/completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The model, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tools, for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
    /// Pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that can answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Labels that select the pods, as `kubectl scale` and autoscalers want them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
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

impl Default for Service {
    fn default() -> Self {
        Self {
            type_: ServiceType::ClusterIP,
            port: 8080,
            annotations: BTreeMap::new(),
        }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn one() -> i32 {
    1
}

fn script_timeout() -> i32 {
    30
}
