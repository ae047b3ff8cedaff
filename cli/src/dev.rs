//! `rockbot dev`: the agents of manifests, served on one machine. Takes the operator's place and shares its `plan`.

mod configs;
mod manifests;
mod reload;
mod secrets;
mod watch;

use std::sync::Arc;

use anyhow::Context;
use rockbot_agent::Environment;
use rockbot_agent_server::{Drain, Loopback, Server};
use rockbot_scripts_local::LocalRunner;
use rockbot_telemetry::{LogArgs, LogTo, Telemetry, start_log, stop_on_signal};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    reload::{Reload, names},
    watch::Watch,
};
use crate::args::DevArgs;

/// What it calls itself in traces and metrics, unless it is told otherwise.
const SERVICE: &str = "rockbot-dev";
/// Sandboxes that wait for a script: one for now, one for the call right after it.
const PARKED: usize = 2;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: DevArgs) -> anyhow::Result<()> {
    start_log(&LogArgs::of_warnings(), LogTo::Stderr);
    let mut telemetry = Telemetry::start(&args.otlp, SERVICE)?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; is something else there? Choose another address with --listen",
            args.listen
        )
    })?;
    let server = Server::within(Environment {
        scripts: Some(Arc::new(LocalRunner::new(PARKED)?)),
        directory: Some(Arc::new(Loopback::of(listener.local_addr()?))),
        ..Environment::default()
    });
    let DevArgs { files, state_dir, .. } = args;
    let watch = Watch::start(&files)?;
    let reload = Reload::start(files, state_dir, &server)?;
    announce(&server, &listener)?;

    let counted = Arc::clone(&server);
    telemetry.push_metrics(move || counted.metrics_text().ok());
    let shutdown = stop_on_signal()?;
    let reloads = tokio::spawn(reload_on_edits(watch, reload, shutdown.clone()));
    rockbot_agent_server::serve(listener, server, Drain::default(), shutdown.clone()).await;
    shutdown.cancel();
    reloads.await?;
    telemetry.end().await;
    Ok(())
}

async fn reload_on_edits(mut watch: Watch, reload: Arc<Reload>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(watch.changed()).await.is_some() {
        if let Err(error) = reload.run() {
            eprintln!("error: {error:#}\nThe agents go on as they were.");
        }
    }
}

fn announce(server: &Server, listener: &TcpListener) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    eprintln!("serving {} on http://{address}", names(server));
    if let Some(name) = server.agents().names().first() {
        eprintln!("  curl http://{address}/{name}/chat/completions -H 'content-type: application/json' \\");
        eprintln!("    -d '{{\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'");
        eprintln!("  rockbot chat {name} --url http://{address}");
    }
    Ok(())
}
