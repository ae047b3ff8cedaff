//! Status of an McpServer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rockbot_crds::{
    McpServer, McpServerStatus,
    conditions::{ConditionType, Reason, find},
    mcp_server::{ServerInfo, Tool},
};

use super::{
    Outcome,
    conditions::{Conditions, State, Verdict},
    rollout,
};
use crate::validate::validate_mcp_server;

/// Most tools that a status lists.
const MOST_TOOLS: usize = 256;
/// Longest text of a server that a status repeats, in characters.
const MOST_TEXT: usize = 256;

/// What is known of a server's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The server was not asked yet, since it changed or since the operator started.
    Pending,
    /// It answered.
    Found(Discovered),
    /// It did not answer as an MCP server does.
    Failed(String),
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// All of its tools.
    pub tools: Vec<Tool>,
    /// Its name and version.
    pub server_info: Option<ServerInfo>,
    /// Revision of the protocol that was agreed on.
    pub protocol_version: String,
}

/// What to report about an McpServer.
pub fn mcp_server_status(server: &McpServer, outcome: &Outcome, discovery: &Discovery, now: &Time) -> McpServerStatus {
    let before = server.status.clone().unwrap_or_default();
    let generation = server.metadata.generation;
    let (verdict, known) = verdict(server, &before, outcome, discovery);
    let conditions = Conditions::new(&before.conditions, generation, now).verdict(&verdict);
    let ready_replicas = match outcome {
        Outcome::Applied(None) => None,
        Outcome::Applied(Some(deployment)) => Some(
            deployment
                .status
                .as_ref()
                .and_then(|status| status.ready_replicas)
                .unwrap_or_default(),
        ),
        _ => before.ready_replicas,
    };
    McpServerStatus {
        observed_generation: generation,
        conditions: conditions.into_list(),
        url: validate_mcp_server(server).ok().map(|valid| valid.url()),
        transport: transport(server),
        ready_replicas,
        ..known
    }
}

/// Whether the server works, and its tools: what it said last, as long as it is the same server.
fn verdict(
    server: &McpServer,
    before: &McpServerStatus,
    outcome: &Outcome,
    discovery: &Discovery,
) -> (Verdict, McpServerStatus) {
    let pods = rollout::verdict(outcome);
    let unchanged = before.observed_generation == server.metadata.generation;
    let remembered = if unchanged {
        before.clone()
    } else {
        McpServerStatus::default()
    };
    if pods.state != State::Ready {
        return (pods, remembered);
    }
    match discovery {
        Discovery::Found(discovered) => found(server, discovered),
        Discovery::Failed(message) => (
            Verdict::new(State::Reconciling, Reason::DiscoveryFailed, message),
            remembered,
        ),
        Discovery::Pending => match find(&before.conditions, ConditionType::Ready) {
            // An operator that has just started believes the last one until it knows better.
            Some(ready) if unchanged && ready.reason == Reason::ServerDiscovered.as_str() => (
                Verdict::new(State::Ready, Reason::ServerDiscovered, &*ready.message),
                remembered,
            ),
            Some(ready) if unchanged && ready.reason == Reason::DiscoveryFailed.as_str() => (
                Verdict::new(State::Reconciling, Reason::DiscoveryFailed, &*ready.message),
                remembered,
            ),
            _ => (
                Verdict::new(
                    State::Reconciling,
                    Reason::Discovering,
                    "asking the server for its tools",
                ),
                remembered,
            ),
        },
    }
}

fn found(server: &McpServer, discovered: &Discovered) -> (Verdict, McpServerStatus) {
    let allowed = server.spec.allowed_tools.as_ref();
    let mut tools: Vec<Tool> = discovered
        .tools
        .iter()
        .filter(|tool| allowed.is_none_or(|allowed| allowed.contains(&tool.name)))
        .map(|tool| Tool {
            name: cut(&tool.name),
            description: tool.description.as_deref().map(cut),
        })
        .collect();
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools.dedup_by(|one, other| one.name == other.name);
    let count = tools.len();
    tools.truncate(MOST_TOOLS);
    let message = if count == 1 {
        "the server has 1 tool".to_owned()
    } else {
        format!("the server has {count} tools")
    };
    let info = discovered.server_info.as_ref();
    let status = McpServerStatus {
        tools,
        tool_count: i32::try_from(count).ok(),
        server_info: info.map(|info| ServerInfo {
            name: cut(&info.name),
            version: cut(&info.version),
        }),
        protocol_version: Some(cut(&discovered.protocol_version)),
        ..McpServerStatus::default()
    };
    (Verdict::new(State::Ready, Reason::ServerDiscovered, message), status)
}

fn transport(server: &McpServer) -> Option<String> {
    let transport = match (&server.spec.http, &server.spec.remote) {
        (Some(_), None) => "http",
        (None, Some(_)) => "remote",
        _ => return None,
    };
    Some(transport.to_owned())
}

/// A server's words, so far as a status repeats them.
fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}
