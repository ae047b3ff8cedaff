//! `rockbot dev`: the agents of manifests, served on one machine. Takes the operator's place and shares its `plan`.

mod configs;
mod manifests;
mod secrets;
mod watch;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use rockbot_agent_server::{Drain, Server};
use rockbot_scripts_local::LocalRunner;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{secrets::SecretFiles, watch::Watch};
use crate::args::DevArgs;

/// Sandboxes that wait for a script: one for now, one for the call right after it.
const PARKED: usize = 2;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: DevArgs) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let secrets = SecretFiles::new()?;
    let server = Server::new(Some(Arc::new(LocalRunner::new(PARKED)?)));
    load(&args.files, &secrets, &server)?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; is something else there? Choose another address with --listen",
            args.listen
        )
    })?;
    announce(&server, &listener)?;

    let shutdown = CancellationToken::new();
    let watch = Watch::start(&args.files)?;
    let reloads = tokio::spawn(reload_on_edits(
        watch,
        args.files,
        secrets,
        server.clone(),
        shutdown.clone(),
    ));
    let signals = tokio::spawn(cancel_on_signal(shutdown.clone()));
    let served = rockbot_agent_server::serve(listener, server, Drain::default(), shutdown.clone()).await;
    shutdown.cancel();
    reloads.await?;
    signals.abort();
    served.context("the server failed")
}

/// Reads the manifests and serves what they say from now on. On an error the server goes on as it was.
fn load(files: &[PathBuf], secrets: &SecretFiles, server: &Server) -> anyhow::Result<()> {
    let manifests = manifests::read(files)?;
    secrets.replace(&manifests.secrets)?;
    let (configs, notes) = configs::of(&manifests, secrets)?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    server.set_agents(configs)?;
    Ok(())
}

async fn reload_on_edits(
    mut watch: Watch,
    files: Vec<PathBuf>,
    secrets: SecretFiles,
    server: Arc<Server>,
    shutdown: CancellationToken,
) {
    while shutdown.run_until_cancelled(watch.changed()).await.is_some() {
        match load(&files, &secrets, &server) {
            Ok(()) => eprintln!("reloaded: {}", names(&server)),
            Err(error) => eprintln!("error: {error:#}\nThe agents go on as they were."),
        }
    }
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
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

fn names(server: &Server) -> String {
    let names = server.agents().names();
    if names.is_empty() {
        "no agent".to_owned()
    } else {
        names.join(", ")
    }
}
