//! `rockbot-scripts-manager`: each script of an agent in a pod of its own, without the wait for one.
//!
//! A pool of parked pods is kept whose supervisors are attached and ready; a request takes one, and no pod is taken twice.
//! It knows nothing of what a script is for.

mod admission;
mod args;
mod attach;
mod audit;
mod canary;
mod claims;
mod demand;
mod desk;
mod events;
mod findings;
mod http;
mod installer;
mod leftovers;
mod metrics;
mod pace;
mod pod;
mod pool;
mod replay;
mod watch;

#[cfg(test)]
mod tests;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use rockbot_http::Bounds;
use rockbot_identity::Verifier;
use rockbot_scripts_api::{AUDIENCE, MAX_TIMEOUT_SECONDS};
use rockbot_telemetry::{Telemetry, stop_on_signal};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    findings::Findings,
    http::Parts,
    installer::Packages,
    metrics::Metrics,
    pod::Pods,
    pool::{Pool, Stages},
};

/// What it calls itself in traces and metrics, unless it is told otherwise.
const SERVICE: &str = "rockbot-scripts-manager";
/// Agents have a connection for each script that they run at the same time, and each of their pods its own address.
const BOUNDS: Bounds = Bounds {
    connections: 2048,
    connections_of_peer: 256,
    headers: 100,
};
/// How long requests are still served after a signal: it takes a moment until nobody is sent here any more.
const LINGER: Duration = Duration::from_secs(3);
/// Time for running scripts to end after that: the longest that one may run, and a moment to give its result. With what
/// follows it fits into the grace period that the chart gives the pod.
const DRAIN_DEADLINE: Duration = Duration::from_secs(MAX_TIMEOUT_SECONDS as u64 + 10);
/// Time for parked pods to be deleted at the end.
const CLEAN_DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    args::start_logging(&args);
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("another TLS provider is installed")?;
    let told_to_stop = stop_on_signal()?;
    let mut telemetry = Telemetry::start(&args.otlp, SERVICE)?;
    let client = kube::Client::try_default().await.context("no way to the API server")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(listen = %listener.local_addr()?, namespace = args.scripts_namespace, image = args.image, "started");

    let (draining, closed, stop) = (
        CancellationToken::new(),
        CancellationToken::new(),
        CancellationToken::new(),
    );
    let (metrics, findings) = (Arc::new(Metrics::new(&args)), Arc::new(Findings::default()));
    if let Some(address) = args.canary() {
        let canary = TcpListener::bind(args.canary_listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.canary_listen))?;
        tokio::spawn(canary::serve(canary, stop.clone()));
        tokio::spawn(canary::prove(address, Arc::clone(&findings), stop.clone()));
    }
    let pods = Pods::new(client.clone(), &args, Arc::clone(&findings), Arc::clone(&metrics));
    let packages = Packages::new(&args, pods.clone(), Arc::clone(&metrics), stop.clone())?;
    let pool = Pool::new(
        &args,
        pods.clone(),
        Arc::clone(&metrics),
        Stages {
            draining: draining.clone(),
            closed: closed.clone(),
            stop: stop.clone(),
        },
    );
    let watching = tokio::spawn(watch::run(pods.clone(), Arc::clone(&metrics), stop.clone()));
    let refilling = tokio::spawn(Arc::clone(&pool).keep_full());

    let parts = Arc::new(Parts {
        args,
        verifier: Verifier::new(client, AUDIENCE),
        pool: Arc::clone(&pool),
        pods,
        packages,
        findings,
        metrics,
        draining: draining.clone(),
    });
    let counted = Arc::clone(&parts);
    telemetry.push_metrics(move || counted.metrics.text(&counted.pool, &counted.findings.now()).ok());
    let routes = http::router(Arc::clone(&parts));
    let mut serving = tokio::spawn(rockbot_http::serve(
        listener,
        routes,
        BOUNDS,
        closed.clone(),
        DRAIN_DEADLINE,
    ));

    tokio::select! {
        ended = &mut serving => anyhow::bail!("the HTTP server ended: {ended:?}"),
        () = told_to_stop.cancelled() => {}
    }
    draining.cancel();
    sleep(LINGER).await;
    closed.cancel();
    let _ = serving.await;
    stop.cancel();
    let _ = timeout(CLEAN_DEADLINE, async {
        tokio::join!(pool.ended(), parts.packages.ended(), watching, refilling)
    })
    .await;
    telemetry.end().await;
    Ok(())
}
