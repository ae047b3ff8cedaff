//! Tools of MCP servers: connects to each server in the background, offers its tools, and connects again when it breaks.
//!
//! A server that is away keeps its tools on offer: calls fail as retryable until it is back. So the model's view of its
//! tools does not flicker with every restart.

mod call;
mod names;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use call::McpTool;
use rand::Rng;
use reqwest::{Client, Url};
use rmcp::{
    ClientHandler, Peer, RoleClient,
    model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion},
    service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, NotificationContext, ServiceError},
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig as TransportConfig,
    },
};
use rockbot_agent_config::McpServerConfig;
use serde_json::Value;
use thiserror::Error;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, info, info_span, warn};

use crate::{
    Metrics,
    metrics::McpRequest,
    scope::Scope,
    tools::{ToolRegistration, ToolRegistry},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The handshake may try the present protocol and fall back to the former one, which takes rmcp up to ten seconds.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(20);
const LIST_DEADLINE: Duration = Duration::from_secs(20);
/// How often tools are listed again; it also finds out that a server is gone.
const LIST_AGAIN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Keeps servers connected until it is dropped.
pub(crate) struct Connections {
    servers: Vec<(String, Link)>,
    _stop: DropGuard,
}

impl Connections {
    /// Names of the servers without a connection at the moment.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &str> {
        let lost = self.servers.iter().filter(|(_, link)| link.load().is_none());
        lost.map(|(name, _)| name.as_str())
    }
}

/// Connects to `servers` in the background and registers their tools in `registry` as they come and go.
pub(crate) fn connect(servers: &[McpServerConfig], registry: &Arc<ToolRegistry>, metrics: &Metrics) -> Connections {
    let stop = CancellationToken::new();
    let mut links = Vec::with_capacity(servers.len());
    for config in servers {
        let link = Link::default();
        links.push((config.name.clone(), Arc::clone(&link)));
        let span = info_span!("mcp", server = config.name);
        let server = Server {
            config: config.clone(),
            registry: Arc::clone(registry),
            link,
            metrics: metrics.clone(),
            host: host(&config.url),
            offered: Vec::new(),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(server.run().instrument(span)));
    }
    Connections {
        servers: links,
        _stop: stop.drop_guard(),
    }
}

/// The session that a server has at the moment, shared with the tools that use it.
type Link = Arc<ArcSwapOption<Session>>;

/// One connection of a server, from its first list of tools to its end.
struct Session {
    peer: Peer<RoleClient>,
    /// A call found it broken. Calls that were in flight end after it, and must not end the one that follows.
    broken: CancellationToken,
}

/// Why a server has no connection.
#[derive(Debug, Error)]
enum ConnectionError {
    #[error("cannot set up an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    #[error("the handshake failed: {0}")]
    Handshake(#[from] Box<ClientInitializeError>),
    #[error("tools/list failed: {0}")]
    List(#[from] ServiceError),
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("a call found the connection broken")]
    Broken,
}

struct Server {
    config: McpServerConfig,
    registry: Arc<ToolRegistry>,
    link: Link,
    metrics: Metrics,
    /// Where the server is, for those who count.
    host: String,
    offered: Vec<ToolRegistration>,
}

impl Server {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let result = self.session(&mut failures).await;
            self.link.store(None);
            let pause = pause(failures, rand::rng().random());
            failures = failures.saturating_add(1);
            if let Err(error) = result {
                warn!(retry_in = ?pause, "no connection to the MCP server: {error}");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Connects and keeps the tools up to date until the connection breaks.
    async fn session(&mut self, failures: &mut u32) -> Result<(), ConnectionError> {
        let transport = StreamableHttpClientTransport::with_client(
            http_client(&self.config.url)?,
            TransportConfig::with_uri(self.config.url.as_str()),
        );
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        let changed = Arc::<Notify>::default();
        let handler = Handler {
            changed: Arc::clone(&changed),
        };
        let handshake = timeout(HANDSHAKE_DEADLINE, handler.serve_with_lifecycle(transport, lifecycle)).await;
        let service = handshake
            .map_err(|_| ConnectionError::Silent(HANDSHAKE_DEADLINE))?
            .map_err(Box::new)?;
        let session = Arc::new(Session {
            peer: service.peer().clone(),
            broken: CancellationToken::new(),
        });
        let listed = session
            .broken
            .run_until_cancelled(self.keep_listed(&session, &changed, failures));
        listed.await.unwrap_or(Err(ConnectionError::Broken))
    }

    /// Lists the tools again and again. Calls use the session from the first list on: a server that cannot tell what its
    /// tools are is not connected.
    async fn keep_listed(
        &mut self,
        session: &Arc<Session>,
        changed: &Notify,
        failures: &mut u32,
    ) -> Result<(), ConnectionError> {
        loop {
            let tools = self.list(&session.peer).await?;
            self.link.store(Some(Arc::clone(session)));
            self.offer(tools);
            *failures = 0;
            tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep(LIST_AGAIN.mul_f64(rand::rng().random_range(0.9..1.1))) => {}
            }
        }
    }

    async fn list(&self, peer: &Peer<RoleClient>) -> Result<Vec<rmcp::model::Tool>, ConnectionError> {
        let asked = Instant::now();
        let tools = timeout(LIST_DEADLINE, peer.list_all_tools()).await;
        let error_type = match &tools {
            Ok(Ok(_)) => "",
            Ok(Err(error)) => call::error_type(error),
            Err(_) => "timeout",
        };
        let request = McpRequest {
            method: "tools/list",
            tool: "",
            error_type,
        };
        self.metrics.mcp_answered(&self.host, request, asked.elapsed());
        Ok(tools.map_err(|_| ConnectionError::Silent(LIST_DEADLINE))??)
    }

    /// Replaces the tools on offer by `tools`, touching only what differs.
    fn offer(&mut self, tools: Vec<rmcp::model::Tool>) {
        let allowed = self.config.allowed_tools.as_ref();
        let tools: Vec<_> = tools
            .into_iter()
            .filter(|tool| allowed.is_none_or(|names| names.iter().any(|name| *name == tool.name)))
            .collect();
        let names = names::offered(&self.config.name, tools.iter().map(|tool| &*tool.name));
        let wanted: Vec<_> = names
            .iter()
            .zip(&tools)
            .map(|(name, tool)| self.registration(name, tool))
            .collect();
        if wanted == self.offered {
            return;
        }
        for gone in self.offered.iter().filter(|offered| !wanted.contains(offered)) {
            self.registry.unregister(&gone.name);
        }
        let mut offered = Vec::with_capacity(wanted.len());
        for (registration, tool) in wanted.into_iter().zip(tools) {
            if self.offered.contains(&registration) || self.register(registration.clone(), tool.name.into_owned()) {
                offered.push(registration);
            }
        }
        info!(tools = offered.len(), "the tools of the MCP server are on offer");
        self.offered = offered;
    }

    fn register(&self, registration: ToolRegistration, tool: String) -> bool {
        let deadline = Duration::from_secs(self.config.tool_timeout_seconds.into());
        let executor = McpTool {
            link: Arc::clone(&self.link),
            metrics: self.metrics.clone(),
            host: self.host.clone(),
            tool,
            deadline,
        };
        let registered = self.registry.register(registration, Arc::new(executor));
        registered
            .inspect_err(|error| warn!("a tool of the MCP server is not offered: {error}"))
            .is_ok()
    }

    fn registration(&self, name: &str, tool: &rmcp::model::Tool) -> ToolRegistration {
        ToolRegistration {
            name: name.to_owned(),
            description: tool
                .description
                .as_deref()
                .or(tool.title.as_deref())
                .unwrap_or_default()
                .to_owned(),
            parameters_schema: Value::Object((*tool.input_schema).clone()),
            source: format!("mcp:{}", self.config.name),
            scope: Scope::default(),
        }
    }
}

/// What the agent tells a server about itself, and what it listens to.
struct Handler {
    changed: Arc<Notify>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let info = Implementation::new("rockbot-agent", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), info)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

/// Each call has a deadline of its own, so the client has none.
fn http_client(url: &str) -> Result<Client, reqwest::Error> {
    // A pooled connection whose last answer was not read to its end stalls the next call; rmcp's own client pools none.
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(0);
    rockbot_http::build(client, [url])
}

/// What is no URL gets no connection either, which is told elsewhere.
fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default()
}

/// `dice` is from 0 to 1.
fn pause(failures: u32, dice: f64) -> Duration {
    (FIRST_PAUSE * 2u32.pow(failures.min(10)))
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + dice / 2.0)
}

#[cfg(test)]
mod tests;
