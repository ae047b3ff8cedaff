//! `rockbot`: the same agents, scripts and manifests as on a cluster, on one machine.

mod args;
mod chat;
mod dev;
mod files;
mod leftovers;
mod script;
mod style;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::args::{Args, Command, ScriptCommand};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = install_tls()
        .and_then(|()| runtime())
        .and_then(|runtime| runtime.block_on(run(args)));
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Dev(args) => dev::run(*args).await.map(|()| ExitCode::SUCCESS),
        Command::Chat(args) => chat::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Script(ScriptCommand::Run(args)) => Ok(script::run::run(*args).await),
        Command::Script(ScriptCommand::Bench(args)) => script::bench::run(args).await,
        Command::Script(ScriptCommand::Doctor(args)) => script::doctor::run(args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "rockbot", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// With the provider named here, no dependency has to guess one.
fn install_tls() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}
