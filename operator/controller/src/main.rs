//! The operator: turns Agents and McpServers into pods, and says what became of them.
//!
//! What the children and the status should be is decided in `rockbot-operator-plan`; everything in this crate is I/O around
//! that.

mod apply;
mod args;
mod children;
mod context;
mod discovery;
mod http;
mod lease;
mod metrics;
mod queue;
mod reconcile;
mod run;
mod watches;
mod write_status;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use args::{Args, Command, LogFormat, RunArgs};
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    match Args::parse().command {
        Command::Run(args) => {
            set_up_process(&args)?;
            run::run(*args).await
        }
        Command::Crds => print_crds(),
    }
}

/// What a process has one of: a TLS provider and a log.
fn set_up_process(args: &RunArgs) -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("a TLS provider is installed already")?;
    // rmcp logs as an error whatever keeps a server from answering; the server's status tells it.
    let filter = EnvFilter::try_new(format!("rmcp=off,{}", args.log_level)).with_context(|| {
        format!(
            "--log-level {:?} is not a filter such as info or rockbot_operator=debug",
            args.log_level
        )
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

fn print_crds() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for (index, definition) in rockbot_crds::definitions().iter().enumerate() {
        let separator = if index == 0 { "" } else { "---\n" };
        write!(out, "{separator}{}", rockbot_crds::to_yaml(definition)?)?;
    }
    Ok(())
}
