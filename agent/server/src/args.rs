//! Flags and environment of the binary, read once.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use rockbot_telemetry::{LogArgs, OtlpArgs};
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
    /// Base URL of the operator; needed by an agent that hands tasks to others.
    #[arg(
        long,
        env = "ROCKBOT_OPERATOR_URL",
        requires_all = ["operator_token_file", "namespace"]
    )]
    pub(crate) operator_url: Option<Url>,
    /// File with the token for the operator.
    #[arg(long, env = "ROCKBOT_OPERATOR_TOKEN_FILE")]
    pub(crate) operator_token_file: Option<PathBuf>,
    /// Namespace of the agent, in which it finds others.
    #[arg(long, env = "ROCKBOT_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) otlp: OtlpArgs,
}
