//! K2: a real MCP server in its image becomes ready, lists its tools, and an agent's model calls one of them.

use anyhow::{Result, ensure};
use rockbot_e2e::{
    Namespace,
    chat::user,
    cluster::{AGENT, MCP_SERVER},
    fixtures, in_namespace,
};
use serde_json::Value;

use crate::agents::reach;

#[tokio::test]
async fn k2_an_agent_calls_a_tool_of_a_server_in_an_image() -> Result<()> {
    in_namespace("mcp", async |ns| {
        ns.apply(&fixtures::mcp_server("everything")).await?;
        let server = ns.ready(MCP_SERVER, "everything").await?;
        lists_echo(&server.data["status"])?;
        calls_echo(ns, "everything").await?;
        columns(ns).await
    })
    .await
}

#[tokio::test]
async fn k2_an_agent_calls_a_tool_of_a_server_elsewhere() -> Result<()> {
    in_namespace("mcp-remote", async |ns| {
        ns.apply(&fixtures::mcp_server("everything")).await?;
        let local = ns.ready(MCP_SERVER, "everything").await?;
        let url = local.data["status"]["url"].as_str().unwrap_or_default();
        ns.apply(&format!(
            "{{ apiVersion: rockbot.dev/v1alpha1, kind: McpServer, metadata: {{ name: elsewhere }}, \
             spec: {{ remote: {{ url: '{url}' }} }} }}"
        ))
        .await?;
        let server = ns.ready(MCP_SERVER, "elsewhere").await?;
        lists_echo(&server.data["status"])?;
        ensure!(server.data["status"]["url"] == url, "url: {}", server.data["status"]);
        calls_echo(ns, "elsewhere").await
    })
    .await
}

fn lists_echo(status: &Value) -> Result<()> {
    let tools = status["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let echo = tools.iter().find(|tool| tool["name"] == "echo");
    ensure!(
        echo.is_some_and(|tool| tool["description"].is_string()),
        "echo is not among the tools: {status}"
    );
    Ok(())
}

/// The scripted model calls `{server}__echo` and says what came back.
async fn calls_echo(ns: &Namespace, server: &str) -> Result<()> {
    fixtures::start_model(ns).await?;
    ns.apply(&fixtures::mcp_agent("caller", &fixtures::model_url(ns, "mcp"), server))
        .await?;
    ns.ready(AGENT, "caller").await?;
    let (_forward, agents) = reach(ns, "caller").await?;
    let (status, answer) = agents
        .post("/caller/chat/completions", &user("say hello from afar"))
        .await?;
    ensure!(status.is_success(), "{status}: {answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    ensure!(
        text.contains("Echo: ") && text.contains("hello from afar"),
        "the tool's result is missing: {answer}"
    );
    Ok(())
}

async fn columns(ns: &Namespace) -> Result<()> {
    let table = ns.kubectl(&["get", "mcp"]).await?;
    let header: Vec<_> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(
        header == ["NAME", "READY", "TRANSPORT", "TOOLS", "URL", "AGE"],
        "columns: {header:?}"
    );
    Ok(())
}
