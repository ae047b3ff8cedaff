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

/// Tools that say their name and arguments; `fail` fails, `slow` takes for ever, and `trace` says in which trace it is.
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
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::from(request.arguments.unwrap_or_default());
        let said = vec![ContentBlock::text(format!("{} {arguments}", request.name))];
        Ok(CallToolResponse::Complete(match &*request.name {
            "fail" => CallToolResult::error(said),
            "slow" => std::future::pending().await,
            "trace" => {
                let meta = &context.meta;
                let values = [meta.get_traceparent(), meta.get_tracestate()];
                CallToolResult::success(vec![ContentBlock::text(json!(values).to_string())])
            }
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

#[tokio::test]
async fn s13_a_server_is_told_the_trace_and_its_answers_are_timed() {
    let address = free_address().await;
    let _server = serve(address, &["fail", "trace"]).await;
    let site = Site::start().await;
    let mut config = agent("a", &site.model.base_url("mcp"));
    let url = format!("http://{address}/mcp");
    config["tools"] = json!({ "mcp": [{ "name": "world", "url": url, "toolTimeoutSeconds": 5 }] });
    site.set(vec![config]);
    offers(&site, &["fail", "trace"]).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked = site
        .post("/a/chat/completions", &user("CALL world__trace {}"))
        .header("traceparent", parent)
        .header("tracestate", "vendor=a");
    let answer: Value = asked.send().await.unwrap().json().await.unwrap();
    let told = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(told, json!([parent, "vendor=a"]).to_string());
    assert_eq!(call(&site, "trace").await, "[null,null]", "no trace, no word of one");
    call(&site, "fail").await;
    for (method, tool, error, count) in [
        ("tools/call", "trace", "", 2),
        ("tools/call", "fail", "tool_error", 1),
        ("tools/list", "", "", 1),
    ] {
        site.metric(&format!(
            "mcp_client_operation_duration_seconds_count{{mcp_method_name=\"{method}\",gen_ai_tool_name=\"{tool}\",\
             server_address=\"127.0.0.1\",error_type=\"{error}\"}} {count}"
        ))
        .await;
    }
}
