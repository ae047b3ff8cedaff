//! Flags and environment, read once.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use rockbot_sandbox::Seccomp;
use tracing_subscriber::EnvFilter;

/// Runs each script of an agent in a pod of its own.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    /// Address of the HTTP API, the probes and the metrics.
    #[arg(long, env = "ROCKBOT_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace of script pods.
    #[arg(long, env = "ROCKBOT_SCRIPTS_NAMESPACE", default_value = "rockbot-scripts")]
    pub scripts_namespace: String,
    /// Name of this manager's own pod; it marks the script pods that are its.
    #[arg(long, env = "ROCKBOT_POD_NAME")]
    pub pod_name: String,
    /// Image of script pods; it needs `python3`.
    #[arg(
        long,
        env = "ROCKBOT_SCRIPTS_IMAGE",
        default_value = "docker.io/library/python:3.12-slim"
    )]
    pub image: String,
    /// Parked pods to keep; with 0 every script waits for a pod to start.
    #[arg(long, env = "ROCKBOT_POOL_SIZE", default_value_t = 3)]
    pub pool_size: usize,
    /// Scripts that may wait for a pod; one more is refused with 429.
    #[arg(long, env = "ROCKBOT_QUEUE_SIZE", default_value_t = 64)]
    pub queue_size: usize,
    /// Scripts that run at the same time.
    #[arg(long, env = "ROCKBOT_MAX_CONCURRENT", default_value_t = 16)]
    pub max_concurrent: usize,
    /// Scripts of one agent that run at the same time.
    #[arg(long, env = "ROCKBOT_MAX_CONCURRENT_PER_AGENT", default_value_t = 4)]
    pub max_concurrent_per_agent: usize,
    /// The supervisor's seccomp filter; `off` takes a wall away, only to test the network policy by itself.
    #[arg(long, env = "ROCKBOT_SANDBOX_SECCOMP", value_enum, default_value_t = Switch::On)]
    pub seccomp: Switch,
    /// Format of the log.
    #[arg(long, env = "ROCKBOT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged: a level, or a filter of levels by module.
    #[arg(long, env = "ROCKBOT_LOG_LEVEL", default_value = "info")]
    pub log_level: EnvFilter,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// As it should be.
    On,
    /// For tests.
    Off,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Args {
    pub(crate) fn seccomp(&self) -> Seccomp {
        match self.seccomp {
            Switch::On => Seccomp::On,
            Switch::Off => Seccomp::Off,
        }
    }
}

/// Starts logging, and says at once when a wall is off.
pub(crate) fn start_logging(args: &Args) {
    let subscriber = tracing_subscriber::fmt().with_env_filter(args.log_level.clone());
    match args.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Text => subscriber.init(),
    }
    if args.seccomp == Switch::Off {
        tracing::warn!("ROCKBOT_SANDBOX_SECCOMP=off: only the network policy is between scripts and the network");
    }
}
