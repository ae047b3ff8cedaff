//! Resources that passed validation: nothing in here can be wrong, so whoever is given one need not check anything.

pub(crate) mod skills;
pub(crate) mod storage;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rockbot_crds::{
    Resources,
    access::Access,
    agent::ServiceType,
    mcp_server::Egress,
    model::{Provider, PullSecret, SecretKeyRef},
};
use serde_json::{Map, Value};
pub use skills::{Handoff, HandoffTo, Hook, Skills};
pub use storage::Storage;

use crate::endpoint::Endpoint;

/// Whose children are built.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// Namespace of the resource and of all of its children.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    /// The reference that makes the cluster delete the children with the resource.
    pub reference: OwnerReference,
}

/// An Agent without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidAgent {
    /// The resource itself.
    pub owner: Owner,
    /// What it is for.
    pub description: String,
    /// System prompt.
    pub instructions: String,
    /// The model and how to reach it.
    pub model: Model,
    /// Scripts, when they are on.
    pub scripts: Option<Scripts>,
    /// Names of MCP servers, with the tools that this agent may call.
    pub mcp_servers: Vec<(String, Option<Vec<String>>)>,
    /// What it declares without code.
    pub skills: Skills,
    /// Who may ask, and what they may use.
    pub access: Access,
    /// Rounds of tool calls of one request.
    pub max_tool_rounds: u32,
    /// Seconds of one request.
    pub request_timeout_seconds: u32,
    /// Requests that one pod answers at the same time.
    pub max_concurrent_requests: u32,
    /// Tokens of a day, when they are limited.
    pub daily_tokens: Option<u64>,
    /// Where its days begin.
    pub time_zone: String,
    /// Where it keeps things.
    pub storage: Storage,
    /// Pods.
    pub replicas: i32,
    /// CPU and memory of a pod.
    pub resources: Option<Resources>,
    /// Image of its own.
    pub image: Option<String>,
    /// Secrets for the registry of the image; `None` for the operator's.
    pub image_pull_secrets: Option<Vec<PullSecret>>,
    /// Type, port and annotations of the Service.
    pub service: (ServiceType, i32, BTreeMap<String, String>),
}

/// How scripts run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripts {
    /// Deadline of a script in seconds.
    pub timeout_seconds: u32,
    /// Packages that scripts may name.
    pub packages: Vec<String>,
}

/// A model without contradictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// How it is spoken to.
    pub provider: Provider,
    /// Name that the provider knows; empty when a `Demo` has none.
    pub name: String,
    /// URL of the provider, unless it is the public one.
    pub base_url: Option<String>,
    /// Where the provider is; nowhere when it is a `Demo`.
    pub endpoint: Option<Endpoint>,
    /// Secret with the key.
    pub api_key: Option<SecretKeyRef>,
    /// Settings of requests.
    pub sampling: Sampling,
    /// Fields that every request carries.
    pub extra_body: Map<String, Value>,
    /// Models that stand in for it. They have none themselves.
    pub fallbacks: Vec<Model>,
}

/// Settings of requests to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Bound of generated tokens.
    pub max_tokens: Option<u32>,
    /// Longest silence in seconds.
    pub timeout_seconds: u32,
}

/// An McpServer without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidMcpServer {
    /// The resource itself.
    pub owner: Owner,
    /// Where the server is.
    pub transport: Transport,
    /// The only tools that agents may call.
    pub allowed_tools: Option<Vec<String>>,
    /// Seconds of one tool call.
    pub tool_timeout_seconds: u32,
}

/// Where an MCP server is.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// In pods.
    Http {
        /// Image of the server.
        image: String,
        /// Secrets for the registry of the image; `None` for the operator's.
        image_pull_secrets: Option<Vec<PullSecret>>,
        /// Port that it listens on.
        port: i32,
        /// Path of the endpoint.
        path: String,
        /// What the pods may reach.
        egress: Egress,
        /// Pods.
        replicas: i32,
        /// CPU and memory of a pod.
        resources: Option<Resources>,
    },
    /// Elsewhere.
    Remote {
        /// URL of the endpoint.
        url: String,
        /// Where that is.
        endpoint: Endpoint,
    },
}

impl ValidAgent {
    /// The model and those that stand in for it, in the order in which they are asked.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        std::iter::once(&self.model).chain(&self.model.fallbacks)
    }
}

impl ValidMcpServer {
    /// URL of the server's endpoint.
    pub fn url(&self) -> String {
        match &self.transport {
            Transport::Http { port, path, .. } => {
                crate::names::mcp_server_url(&self.owner.namespace, &self.owner.name, *port, path)
            }
            Transport::Remote { url, .. } => url.clone(),
        }
    }
}
