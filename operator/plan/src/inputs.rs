//! What a plan is made from, beside the resource itself: the installation's settings and the resources that it names.

use std::collections::BTreeMap;

use rockbot_crds::{
    McpServer,
    conditions::{ConditionType, is_true},
    model::{PullSecret, SecretKeyRef},
};

use crate::{
    endpoint::Endpoint,
    valid::{Transport, ValidAgent},
    validate::validate_mcp_server,
};

/// What the installation says about all agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the operator and the scripts manager.
    pub namespace: String,
    /// Image of agents that name none.
    pub agent_image: String,
    /// Secrets with credentials for the registry of an image, for objects that name none. Where a namespace has no such
    /// Secret, its pods do without.
    pub image_pull_secrets: Vec<PullSecret>,
    /// URL of the operator's HTTP API.
    pub operator_url: String,
    /// URL of the scripts manager.
    pub scripts_manager_url: String,
    /// Addresses of DNS servers that are not pods of `kube-system`.
    pub dns_cidrs: Vec<String>,
    /// More destinations of agents whose model or MCP server has a public name.
    pub model_egress_cidrs: Vec<String>,
    /// Where agents send traces and metrics, if they send any.
    pub telemetry: Option<TelemetrySettings>,
}

/// Where agents send traces and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Receivers that they must reach.
    pub receivers: Vec<Endpoint>,
    /// OpenTelemetry's variables, which say what is sent to them.
    pub variables: Vec<(&'static str, String)>,
    /// Secret of the agent's namespace with the headers of what is sent; without that Secret it is sent without them.
    pub headers: Option<SecretKeyRef>,
}

/// The resources that an agent names, looked up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// MCP servers.
    pub servers: Vec<Resolution>,
    /// Agents that handoffs go to, by name, and whether they are there.
    pub agents: BTreeMap<String, bool>,
}

/// What was found under a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// A server. It is in the agent's configuration even while it is not ready, so that its ups and downs do not restart
    /// the agent.
    Found {
        /// The server.
        server: Server,
        /// Whether it is ready.
        ready: bool,
    },
    /// Nothing, or something without a URL: the agent runs without it.
    Missing {
        /// The name.
        name: String,
    },
}

/// An MCP server as an agent uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// URL of its endpoint.
    pub url: String,
    /// The only tools that this agent may call: both the agent and the server allow them.
    pub allowed_tools: Option<Vec<String>>,
    /// Seconds of one tool call.
    pub tool_timeout_seconds: u32,
    /// How the agent's packets get there.
    pub(crate) route: Route,
}

/// How an agent's packets get to an MCP server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    Pods { port: i32 },
    Elsewhere(Endpoint),
}

impl References {
    /// Names of the agents that handoffs go to and that are not there.
    pub fn missing_agents(&self) -> impl Iterator<Item = &str> {
        let missing = self.agents.iter().filter(|(_, there)| !**there);
        missing.map(|(name, _)| name.as_str())
    }

    /// The MCP servers that the agent can be given.
    pub fn found(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter_map(|resolution| match resolution {
            Resolution::Found { server, .. } => Some(server),
            Resolution::Missing { .. } => None,
        })
    }
}

/// Looks up what an agent names in its own namespace: MCP servers with `find`, and with `has_agent` other agents.
pub fn resolve<'a>(
    agent: &ValidAgent,
    find: impl Fn(&str) -> Option<&'a McpServer>,
    has_agent: impl Fn(&str) -> bool,
) -> References {
    let resolve = |(name, allowed): &(String, Option<Vec<String>>)| {
        let Some((server, valid)) = find(name).and_then(|server| Some((server, validate_mcp_server(server).ok()?)))
        else {
            return Resolution::Missing { name: name.clone() };
        };
        let conditions = server
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let server = Server {
            name: name.clone(),
            url: valid.url(),
            allowed_tools: both(allowed.as_ref(), valid.allowed_tools.as_ref()),
            tool_timeout_seconds: valid.tool_timeout_seconds,
            route: match valid.transport {
                Transport::Http { port, .. } => Route::Pods { port },
                Transport::Remote { endpoint, .. } => Route::Elsewhere(endpoint),
            },
        };
        Resolution::Found {
            server,
            ready: is_true(conditions, ConditionType::Ready),
        }
    };
    let agents = agent.skills.agents();
    References {
        servers: agent.mcp_servers.iter().map(resolve).collect(),
        agents: agents.map(|name| (name.to_owned(), has_agent(name))).collect(),
    }
}

/// What two lists allow, of which an absent one allows everything.
fn both(one: Option<&Vec<String>>, other: Option<&Vec<String>>) -> Option<Vec<String>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.iter().filter(|tool| other.contains(tool)).cloned().collect()),
        (one, other) => one.or(other).cloned(),
    }
}
