//! Asks MCP servers for their tools, beside the reconciles: a slow server delays nobody. An answer queues its server again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{api::DynamicObject, runtime::reflector::ObjectRef};
use rmcp::{
    ClientHandler, RoleClient,
    model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion},
    service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport,
        streamable_http_client::{StreamableHttpClientTransportConfig as TransportConfig, StreamableHttpError},
    },
};
use rockbot_crds::{
    McpServer,
    mcp_server::{ServerInfo, Tool},
};
use rockbot_operator_plan::{Discovered, Discovery, backoff};
use thiserror::Error;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{object::Object, queue::Queue};

/// Servers that are asked at the same time.
const CONCURRENCY: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for all of it. The handshake alone may try the present protocol for ten seconds before it takes the former one.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a server that answers is asked again.
const AGAIN: Duration = Duration::from_secs(300);

/// What the servers said.
pub(crate) struct Discoveries {
    inner: Arc<Inner>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Inner {
    known: Mutex<HashMap<ObjectRef<DynamicObject>, Known>>,
    queue: Arc<Queue<Object<McpServer>>>,
    slots: Semaphore,
}

/// What is known of one server.
struct Known {
    /// What the server is: another generation is another server.
    generation: Option<i64>,
    discovery: Discovery,
    failures: u32,
    /// When to ask again; absent while it is being asked.
    due: Option<Instant>,
}

/// Why a server is not known.
#[derive(Debug, Error)]
enum DiscoveryError {
    #[error("cannot set up an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    #[error("no MCP handshake at {url}: {}", reason(source))]
    Handshake {
        url: String,
        source: Box<ClientInitializeError>,
    },
    #[error("the server does not list its tools: {0}")]
    List(#[from] ServiceError),
    #[error("no answer from {url} within {} s", DEADLINE.as_secs())]
    Silent { url: String },
}

impl Discoveries {
    /// Nothing is known yet. Until `stop`, servers are asked when somebody wants to know.
    pub(crate) fn new(queue: Arc<Queue<Object<McpServer>>>, stop: CancellationToken) -> Self {
        let inner = Inner {
            known: Mutex::default(),
            queue,
            slots: Semaphore::new(CONCURRENCY),
        };
        Self {
            inner: Arc::new(inner),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// What is known of a server, and when it will be asked again. Starts to ask it when that is due. A server that is not up is
    /// forgotten: it may say something else when it is back.
    pub(crate) fn of(&self, server: &McpServer, url: String, is_up: bool) -> (Discovery, Option<Duration>) {
        let key = ObjectRef::from_obj(server).erase();
        if !is_up {
            self.forget(&key);
            return (Discovery::Pending, None);
        }
        let now = Instant::now();
        let mut known = self.inner.lock();
        let entry = known
            .entry(key.clone())
            .or_insert_with(|| Known::nothing(server.metadata.generation, now));
        if entry.generation != server.metadata.generation {
            *entry = Known::nothing(server.metadata.generation, now);
        }
        if entry.due.is_some_and(|due| due <= now) {
            entry.due = None;
            self.ask(key, entry.generation, url);
        }
        (
            entry.discovery.clone(),
            entry.due.map(|due| due.saturating_duration_since(now)),
        )
    }

    /// A server that is gone.
    pub(crate) fn forget(&self, server: &ObjectRef<DynamicObject>) {
        self.inner.lock().remove(server);
    }

    /// Waits until nobody is being asked any more. After `stop` that is soon.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn ask(&self, key: ObjectRef<DynamicObject>, generation: Option<i64>, url: String) {
        let inner = Arc::clone(&self.inner);
        let asking = async move {
            // The semaphore is never closed; without a slot the server would merely be asked at once.
            let _slot = inner.slots.acquire().await;
            let result = timeout(DEADLINE, discover(&url))
                .await
                .unwrap_or(Err(DiscoveryError::Silent { url }));
            inner.note(&key, generation, result);
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(asking));
    }
}

impl Inner {
    /// Remembers an answer, unless it is about what the server no longer is.
    fn note(
        &self,
        key: &ObjectRef<DynamicObject>,
        generation: Option<i64>,
        result: Result<Discovered, DiscoveryError>,
    ) {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(key).filter(|entry| entry.generation == generation) else {
            return;
        };
        let pause = match result {
            Ok(discovered) => {
                entry.failures = 0;
                entry.discovery = Discovery::Found(discovered);
                AGAIN.mul_f64(rand::random_range(0.9..1.1))
            }
            Err(error) => {
                entry.failures = entry.failures.saturating_add(1);
                entry.discovery = Discovery::Failed(error.to_string());
                backoff(entry.failures, rand::random())
            }
        };
        entry.due = Some(Instant::now() + pause);
        let namespace = key.namespace.as_deref().unwrap_or_default();
        self.queue.add(ObjectRef::new(&key.name).within(namespace));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<DynamicObject>, Known>> {
        // Nothing panics while it holds the lock, so a poisoned one is still good.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn nothing(generation: Option<i64>, now: Instant) -> Self {
        Self {
            generation,
            discovery: Discovery::Pending,
            failures: 0,
            due: Some(now),
        }
    }
}

async fn discover(url: &str) -> Result<Discovered, DiscoveryError> {
    let transport = StreamableHttpClientTransport::with_client(http_client(url)?, TransportConfig::with_uri(url));
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    };
    let service = Handler.serve_with_lifecycle(transport, lifecycle).await;
    let mut service = service.map_err(|error| DiscoveryError::Handshake {
        url: url.to_owned(),
        source: Box::new(error),
    })?;
    let discovered = describe(&service).await;
    // Ends the session at the server. One that is left open anyway ends by the server's own rules.
    let _ = service.close_with_timeout(CONNECT_TIMEOUT).await;
    discovered
}

async fn describe(service: &RunningService<RoleClient, Handler>) -> Result<Discovered, DiscoveryError> {
    let tools = service.list_all_tools().await?;
    let about = service.peer_info();
    let tool = |tool: rmcp::model::Tool| Tool {
        name: tool.name.into_owned(),
        description: tool.description.as_deref().or(tool.title.as_deref()).map(str::to_owned),
    };
    Ok(Discovered {
        tools: tools.into_iter().map(tool).collect(),
        server_info: about
            .as_ref()
            .and_then(|about| about.server_info.as_ref())
            .map(|info| ServerInfo {
                name: info.name.clone(),
                version: info.version.clone(),
            }),
        protocol_version: about
            .map(|about| about.protocol_version.to_string())
            .unwrap_or_default(),
    })
}

/// Why a handshake failed, without the layers through which the reason came up.
fn reason(error: &ClientInitializeError) -> String {
    let ClientInitializeError::TransportError { error, .. } = error else {
        return error.to_string();
    };
    match error.error.downcast_ref() {
        Some(StreamableHttpError::<reqwest::Error>::Client(error)) => root_cause(error),
        _ => error.error.to_string(),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let root = rockbot_http::causes(error).last();
    root.map_or_else(|| error.to_string(), ToString::to_string)
}

fn http_client(url: &str) -> Result<reqwest::Client, reqwest::Error> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0);
    rockbot_http::build(client, [url])
}

/// What the operator tells a server about itself.
struct Handler;

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let info = Implementation::new("rockbot-operator", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), info)
    }
}
