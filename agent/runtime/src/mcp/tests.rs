//! Tests of connections, with a real MCP server that goes away while it works.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::Router;
use futures::future::join_all;
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
use serde_json::json;
use tokio::{net::TcpListener, runtime, task::spawn_blocking};

use super::*;
use crate::{
    Context, RequestContext as Asked,
    tools::{Invoker, ToolError, ToolErrorCode, ToolInvokeRequest, ToolInvokeResponse},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// `wait` takes for ever, and `work` longer than the pause before a new connection.
#[derive(Clone, Default)]
struct Tools(Arc<Counts>);

#[derive(Default)]
struct Counts {
    lists: AtomicUsize,
    waits: AtomicUsize,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.0.lists.fetch_add(1, Ordering::SeqCst);
        let schema: JsonObject = serde_json::from_value(json!({ "type": "object" })).unwrap();
        let tools = ["wait", "work"].map(|name| Tool::new(name, "A tool.", Arc::new(schema.clone())));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "wait" {
            self.0.waits.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(FIRST_PAUSE * 2).await;
        let said = vec![ContentBlock::text("worked")];
        Ok(CallToolResponse::Complete(CallToolResult::success(said)))
    }
}

/// A server that ends, with all of its connections, when its runtime is shut down.
fn serve(address: SocketAddr, tools: Tools) -> runtime::Runtime {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(async move {
        let sessions = Arc::<LocalSessionManager>::default();
        let config = StreamableHttpServerConfig::default();
        let service = StreamableHttpService::new(move || Ok(tools.clone()), sessions, config);
        let listener = TcpListener::bind(address).await.unwrap();
        let router = Router::new().nest_service("/mcp", service);
        axum::serve(listener, router).await.unwrap();
    });
    runtime
}

async fn until(happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

async fn call(registry: &ToolRegistry, tool: &str) -> Result<ToolInvokeResponse, ToolError> {
    let request = ToolInvokeRequest {
        tool_call_id: "id".to_owned(),
        tool_name: format!("world__{tool}"),
        arguments: String::new(),
        session_id: "session".to_owned(),
        context: Context::new("a", Asked::anonymous("session")),
    };
    let invoker = Invoker::new(Metrics::default());
    invoker.invoke(&registry.snapshot(), &request).await
}

#[tokio::test]
async fn t5_calls_that_break_together_end_one_session_and_not_the_next() {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let tools = Tools::default();
    let counts = Arc::clone(&tools.0);
    let server = serve(address, tools.clone());
    let config = McpServerConfig {
        name: "world".to_owned(),
        url: format!("http://{address}/mcp"),
        allowed_tools: None,
        tool_timeout_seconds: 60,
    };
    let registry = Arc::<ToolRegistry>::default();
    let connections = connect(&[config], &registry, &Metrics::default());
    let is_connected = || connections.lost().next().is_none();
    until(is_connected).await;

    let calls = join_all((0..4).map(|_| call(&registry, "wait")));
    let restart = async {
        until(|| counts.waits.load(Ordering::SeqCst) == 4).await;
        spawn_blocking(|| server.shutdown_timeout(PATIENCE)).await.unwrap();
        serve(address, tools)
    };
    let (broken, server) = timeout(PATIENCE, async { tokio::join!(calls, restart) }).await.unwrap();
    for result in broken {
        let error = result.unwrap_err();
        assert!(
            error.is_retryable && error.code == ToolErrorCode::ExecutionFailed,
            "{error:?}"
        );
    }

    until(|| counts.lists.load(Ordering::SeqCst) >= 2 && is_connected()).await;
    assert_eq!(call(&registry, "work").await.unwrap().content, "worked");
    assert_eq!(counts.lists.load(Ordering::SeqCst), 2, "it is still the second session");
    server.shutdown_background();
}
