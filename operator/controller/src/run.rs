//! One process from its start to its end: watches and the HTTP API always, reconciles while it leads.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::http::{HeaderValue, header::USER_AGENT};
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use rockbot_http::Bounds;
use rockbot_identity::Verifier;
use rockbot_telemetry::{Telemetry, stop_on_signal};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    args::RunArgs,
    context::{Context, Shared},
    discovery::Discoveries,
    http::{self, Server},
    lease::Candidate,
    metrics::Metrics,
    reconcile,
    watches::{self, Queues, add_all},
};

/// What it calls itself in traces and metrics, unless it is told otherwise.
const SERVICE: &str = "rockbot-operator";
/// Agents ask for few things, each from one address, and few at the same time.
const BOUNDS: Bounds = Bounds {
    connections: 4096,
    connections_of_peer: 64,
    headers: 100,
};
/// Time that requests have to end once reconciling has ended.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Runs until a signal says otherwise.
pub(crate) async fn run(args: RunArgs) -> Result<()> {
    let mut telemetry = Telemetry::start(&args.otlp, SERVICE)?;
    let client = client()
        .await
        .context("no way to the Kubernetes API; in a pod it needs a ServiceAccount")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let (stop, end) = (stop_on_signal()?, CancellationToken::new());
    let tasks = TaskTracker::new();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let registry = Arc::new(registry);
    let (stores, queues) = watches::start(&client, &tasks, &end);

    let server = Server {
        stores: stores.clone(),
        verifier: Verifier::new(client.clone(), rockbot_operator_api::AUDIENCE),
        registry: Arc::clone(&registry),
        ready: CancellationToken::new(),
    };
    telemetry.push_metrics(move || http::metrics_text(&registry).ok());
    let ready = server.ready.clone();
    let serving = rockbot_http::serve(listener, http::router(server), BOUNDS, end.clone(), DRAIN_WITHIN);
    let serving = tokio::spawn(serving);
    info!(listen = %args.listen, "serving");

    let settings = args.settings();
    let shared = Shared {
        client: client.clone(),
        settings,
        stores,
        metrics,
        pod_name: args.pod_name.clone(),
    };
    if stop.run_until_cancelled(shared.stores.ready()).await.is_some() {
        ready.cancel();
        let RunArgs {
            namespace,
            lease_name,
            pod_name,
            ..
        } = args;
        let candidate = Candidate {
            client,
            namespace,
            lease_name,
            pod_name,
        };
        candidate
            .campaign(&stop, async |end| lead(&shared, &queues, end).await)
            .await;
    }
    end.cancel();
    tasks.close();
    tasks.wait().await;
    let served = serving.await;
    telemetry.end().await;
    served.context("the HTTP server failed")
}

/// A client of the cluster that this pod is in, or of the kubeconfig.
async fn client() -> Result<Client> {
    let mut config = Config::infer().await?;
    let name = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_static(name)));
    Ok(Client::try_from(config)?)
}

/// One term: reconciles everything once, and then whatever changes.
async fn lead(shared: &Shared, queues: &Queues, end: CancellationToken) {
    let discoveries = Discoveries::new(Arc::clone(&queues.mcp_servers), end.clone());
    let context = Arc::new(Context::new(shared.clone(), discoveries));
    queues.agents.set_open(true);
    queues.mcp_servers.set_open(true);
    add_all(&queues.agents, &shared.stores.agents);
    add_all(&queues.mcp_servers, &shared.stores.mcp_servers);
    shared.metrics.leads(true);
    reconcile::all(Arc::clone(&context), queues, &end).await;
    context.discoveries.finish().await;
    shared.metrics.leads(false);
    queues.agents.set_open(false);
    queues.mcp_servers.set_open(false);
}
