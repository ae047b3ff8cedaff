//! Names of everything that the operator makes. Nothing else formats one.

/// Who applies children and status, in the words of server-side apply.
pub const FIELD_MANAGER: &str = "rockbot-operator";

/// Name of every child of an Agent. The prefix keeps them apart from an McpServer of the same name.
pub(crate) fn agent_child(agent: &str) -> String {
    format!("agent-{agent}")
}

/// Name of every child of an McpServer.
pub(crate) fn mcp_server_child(server: &str) -> String {
    format!("mcp-{server}")
}

/// Where an agent answers inside the cluster.
pub fn agent_url(namespace: &str, agent: &str, port: i32) -> String {
    format!("http://{}.{namespace}.svc:{port}/{agent}", agent_child(agent))
}

/// Where an MCP server that runs in pods answers inside the cluster.
pub fn mcp_server_url(namespace: &str, server: &str, port: i32, path: &str) -> String {
    format!("http://{}.{namespace}.svc:{port}{path}", mcp_server_child(server))
}
