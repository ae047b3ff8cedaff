//! T5: the tools of a real MCP server, which comes late, goes away and comes back changed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::site::{PATIENCE, Site, agent, user};

/// Tools that say their name and arguments; `fail` fails and `slow` takes for ever.
#[derive(Clone)]
struct Tools(&'static [&'static str]);

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema: JsonObject = serde_json::from_value(json!({ "type": "object" })).unwrap();
        let tool = |name: &&'static str| Tool::new(*name, "A tool.", Arc::new(schema.clone()));
        Ok(ListToolsResult::with_all_items(self.0.iter().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::from(request.arguments.unwrap_or_default());
        let said = vec![ContentBlock::text(format!("{} {arguments}", request.name))];
        Ok(CallToolResponse::Complete(match &*request.name {
            "fail" => CallToolResult::error(said),
            "slow" => std::future::pending().await,
            _ => CallToolResult::success(said),
        }))
    }
}

async fn serve(address: SocketAddr, tools: &'static [&'static str]) -> JoinHandle<()> {
    let sessions = Arc::<LocalSessionManager>::default();
    let service = StreamableHttpService::new(
        move || Ok(Tools(tools)),
        sessions,
        StreamableHttpServerConfig::default(),
    );
    let listener = TcpListener::bind(address).await.unwrap();
    let router = Router::new().nest_service("/mcp", service);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

async fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap()
}

/// Waits until the agent offers exactly `tools`.
async fn offers(site: &Site, tools: &[&str]) {
    let expected: Vec<_> = tools.iter().map(|tool| format!("mcp:world:world__{tool}")).collect();
    let wait = async {
        loop {
            let (_, info) = site.get_json("/a").await;
            if info["capabilities"] == json!(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("the agent never offered {expected:?}"));
}

/// What the scripted model was told when it called `tool`.
async fn call(site: &Site, tool: &str) -> String {
    let (_, answer) = site.ask(user(&format!("CALL world__{tool} {{\"x\":1}}"))).await;
    answer["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

#[tokio::test]
async fn t5_tools_of_a_server_come_and_go_with_it() {
    let address = free_address().await;
    let site = Site::start().await;
    let mut config = agent("a", &site.model.base_url("mcp"));
    config["tools"] = json!({ "mcp": [{
        "name": "world",
        "url": format!("http://{address}/mcp"),
        "allowedTools": ["say", "fail", "slow", "late"],
        "toolTimeoutSeconds": 1,
    }] });
    site.set(vec![config]);
    assert_eq!(
        site.get_text("/ready").await.0,
        200,
        "an agent is ready without its servers"
    );
    assert!(call(&site, "say").await.contains("tool_not_found"));

    let server = serve(address, &["say", "fail", "slow", "secret"]).await;
    offers(&site, &["fail", "say", "slow"]).await;
    assert_eq!(call(&site, "say").await, r#"say {"x":1}"#);
    assert_eq!(call(&site, "fail").await, r#"fail {"x":1}"#);
    let slow = call(&site, "slow").await;
    assert!(
        slow.contains(r#""code":"timeout""#) && slow.contains(r#""retryable":true"#),
        "{slow}"
    );
    assert!(
        call(&site, "secret").await.contains("tool_not_found"),
        "only what is allowed"
    );
    site.metric(r#"rockbot_tool_invocations_total{tool_name="world__fail",status="error"} 1"#)
        .await;

    server.abort();
    let gone = server.await.unwrap_err();
    assert!(gone.is_cancelled());
    let broken = call(&site, "say").await;
    assert!(
        broken.contains("execution_failed") && broken.contains(r#""retryable":true"#),
        "{broken}"
    );
    offers(&site, &["fail", "say", "slow"]).await;

    let _server = serve(address, &["say", "late"]).await;
    offers(&site, &["late", "say"]).await;
    assert_eq!(call(&site, "late").await, r#"late {"x":1}"#);
}
