//! `McpServer`: a server of the Model Context Protocol, run by RockBot or elsewhere, whose tools agents may use.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Resources, model::PullSecret};

/// Where the server is and what it may do. Exactly one of `http` and `remote` is given.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "rockbot.dev",
    version = "v1alpha1",
    kind = "McpServer",
    plural = "mcpservers",
    shortname = "mcp",
    namespaced,
    status = "McpServerStatus",
    derive = "PartialEq",
    category = "rockbot",
    doc = "A server of the Model Context Protocol, run from an image or reached by its URL, whose tools agents may use.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Transport", type_ = "string", json_path = ".status.transport"),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.toolCount"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$')").message(
        "metadata.name must be at most 50 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
    ),
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
    attr = r#"x_kube(crates(kube_core = "::kube_core"))"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.http) != has(self.remote)", "message": "exactly one of http and remote must be given" },
    {
        "rule": "!has(self.remote) || self.egress == 'None'",
        "message": "egress is about pods; a remote server has none, so it must be None",
    },
    {
        "rule": "!has(self.remote) || !has(self.resources)",
        "message": "resources are those of pods; a remote server has none, so they must be absent",
    },
]))]
pub struct McpServerSpec {
    /// A server in an image that speaks streamable HTTP. It runs in pods of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// A server that runs elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The only tools that agents may call. All that the server has, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_tools: Option<Vec<String>>,
    /// Seconds that one tool call may take.
    #[serde(default = "tool_timeout")]
    #[schemars(range(min = 1, max = 3600))]
    pub tool_timeout_seconds: i32,
    /// What the server's pods may reach: nothing, or the public internet.
    #[serde(default)]
    pub egress: Egress,
    /// Number of pods.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory of each pod. Defaults to requests of 10m and 64Mi, and a memory limit of 512Mi; a default gives way to what
    /// is given on the other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A server in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// Image of the server. It runs as user 65532 with a read-only root and a writable `/tmp`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub image: String,
    /// Secrets with credentials for the registry of the image, instead of those that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Option<Vec<PullSecret>>,
    /// Port that the server listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path of the MCP endpoint.
    #[serde(default = "mcp_path")]
    #[schemars(length(max = 1024), regex(pattern = r"^/[^\s?#]*$"))]
    pub path: String,
}

/// A server elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// URL of the MCP endpoint, `http` or `https`, without credentials.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub url: String,
}

/// What pods may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Egress {
    /// Nothing at all, not even DNS.
    #[default]
    None,
    /// DNS and the public internet, but nothing in the cluster or its networks.
    Public,
}

/// What became of an McpServer. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where agents reach the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How the server is run, for a person to read: `http` or `remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Tools that agents may call; at most 256 are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tools: Vec<Tool>,
    /// Number of tools that agents may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_count: Option<i32>,
    /// Who the server says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,
    /// Revision of the protocol that was agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub protocol_version: Option<String>,
    /// Pods that can answer. Absent for a remote server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
}

/// A tool of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Name as the server knows it.
    #[schemars(length(max = 256))]
    pub name: String,
    /// What it does, in the server's words; cut after 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
}

/// Who a server says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// Name of the implementation.
    #[schemars(length(max = 256))]
    pub name: String,
    /// Version of the implementation.
    #[schemars(length(max = 256))]
    pub version: String,
}

fn mcp_path() -> String {
    "/mcp".into()
}

fn tool_timeout() -> i32 {
    60
}

fn one() -> i32 {
    1
}
