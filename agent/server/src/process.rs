//! The process of an agent: its flags, its log, and the signal that stops it.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use rockbot_agent::skills::Skill;
use rockbot_agent_config::AgentConfig;
use rockbot_scripts_api::{Client, ClientSettings, ScriptRunner};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    Drain, Server,
    args::{Args, LogFormat},
    serve,
};

/// Kubernetes takes a moment to stop sending requests, and grants 30 seconds in all unless told otherwise.
const DRAIN: Drain = Drain {
    linger: Duration::from_secs(3),
    deadline: Duration::from_secs(25),
};

/// The whole of an agent's binary: serves the agent that its configuration file describes, with `skills` besides its
/// tools, until it is told to stop.
///
/// One thread serves an agent: it waits for models and tools, and a thread less is memory less. Replicas are how it grows.
pub fn main(skills: Vec<Arc<dyn Skill>>) -> ExitCode {
    let args = Args::parse();
    log(args.log_format, args.log.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(args, skills)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("stopped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args, skills: Vec<Arc<dyn Skill>>) -> Result<()> {
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    let path = args.config.display();
    let text = std::fs::read_to_string(&args.config).with_context(|| format!("cannot read {path}"))?;
    let config: AgentConfig = serde_json::from_str(&text).with_context(|| format!("{path} is no agent"))?;
    let name = config.name.clone();
    let server = Server::with_skills(scripts(&args, &config)?, skills);
    server.set_agents(vec![config])?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    info!(agent = name, address = %listener.local_addr()?, "serving");
    serve(listener, server, DRAIN, shutdown)
        .await
        .context("the listener broke")
}

/// The scripts manager, for an agent that may run scripts and is told where it is.
fn scripts(args: &Args, config: &AgentConfig) -> Result<Option<Arc<dyn ScriptRunner>>> {
    let (Some(url), Some(token_file), Some(_)) = (
        &args.scripts_manager_url,
        &args.scripts_manager_token_file,
        &config.tools.scripts,
    ) else {
        return Ok(None);
    };
    let client = Client::new(ClientSettings {
        url: url.clone(),
        token_file: token_file.clone(),
    })?;
    Ok(Some(Arc::new(client)))
}

fn stop_on_signal(shutdown: CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

fn log(format: LogFormat, filter: Targets) {
    let lines = tracing_subscriber::fmt::layer();
    let registry = tracing_subscriber::registry();
    match format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            registry.with(lines.with_filter(filter)).init();
        }
        LogFormat::Text => registry.with(lines.with_filter(filter)).init(),
    }
}
