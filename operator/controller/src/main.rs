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
mod object;
mod queue;
mod reconcile;
mod run;
mod watches;
mod write_status;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use args::{Args, Command, RunArgs};
use clap::Parser;
use rockbot_telemetry::{LogTo, start_log};

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
    start_log(&args.log, LogTo::Stderr);
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
