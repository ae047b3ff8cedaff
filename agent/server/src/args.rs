//! Flags and environment of the binary, read once.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use tracing_subscriber::filter::Targets;
use url::Url;

/// Serves one agent over HTTP.
#[derive(Debug, Parser)]
#[command(name = "rockbot-agent", version)]
pub(crate) struct Args {
    /// File that says what the agent is: agent.json.
    #[arg(long, env = "ROCKBOT_CONFIG")]
    pub(crate) config: PathBuf,
    /// Address to listen on.
    #[arg(long, env = "ROCKBOT_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// Base URL of the scripts manager; needed by an agent that may run scripts.
    #[arg(long, env = "ROCKBOT_SCRIPTS_MANAGER_URL", requires = "scripts_manager_token_file")]
    pub(crate) scripts_manager_url: Option<Url>,
    /// File with the token for the scripts manager.
    #[arg(long, env = "ROCKBOT_SCRIPTS_MANAGER_TOKEN_FILE")]
    pub(crate) scripts_manager_token_file: Option<PathBuf>,
    /// Form of log lines.
    #[arg(long, env = "ROCKBOT_LOG_FORMAT", default_value = "json")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level, or levels by module, such as `info,rmcp=debug`.
    #[arg(long, env = "ROCKBOT_LOG", default_value = "info,rmcp=warn")]
    pub(crate) log: Targets,
}

/// Forms of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Text, for people.
    Text,
}
