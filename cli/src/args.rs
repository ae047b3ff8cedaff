//! The command line. Nothing else reads flags or the environment.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use url::Url;

/// Runs RockBot's agents on one machine, talks to agents anywhere, and runs scripts in the sandbox.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Start here:  rockbot dev -f crds/examples/quickstart.yaml"
)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Everything that `rockbot` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the agents of manifests, the very files that `kubectl apply` takes.
    #[command(
        after_help = "Examples:\n  rockbot dev -f crds/examples/quickstart.yaml\n  rockbot dev -f agents/ -f secrets.yaml --listen 127.0.0.1:9000\n\nEdits of the files are picked up while it runs."
    )]
    Dev(DevArgs),
    /// Talk to an agent in the terminal.
    #[command(
        after_help = "Examples:\n  rockbot chat\n  rockbot chat assistant --url http://localhost:8080\n  echo 'hello' | rockbot chat assistant"
    )]
    Chat(ChatArgs),
    /// Run scripts in the sandbox of this machine.
    #[command(subcommand)]
    Script(ScriptCommand),
    /// Print the completion script of a shell.
    #[command(after_help = "Example:\n  rockbot completions bash > /etc/bash_completion.d/rockbot")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `rockbot dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct DevArgs {
    /// Manifest, or directory of manifests (*.yaml, *.yml); may be given more than once.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Address to serve on.
    #[arg(long, env = "ROCKBOT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
}

/// `rockbot chat`.
#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// Name of the agent; may be left out where the server has just one.
    pub(crate) agent: Option<String>,
    /// Base URL of the server.
    #[arg(long, env = "ROCKBOT_URL", default_value = "http://localhost:8080")]
    pub(crate) url: Url,
}

/// `rockbot script`.
#[derive(Debug, Subcommand)]
pub(crate) enum ScriptCommand {
    /// Run one Python script and exit with its exit code.
    #[command(
        after_help = "Examples:\n  rockbot script run job.py\n  echo 'print(6*7)' | rockbot script run -\n  rockbot script run --input '{\"n\": 3}' --timeout 5 --output json job.py\n\nExit code: the script's own; 124 when the timeout ended it; 125 when it could not be run."
    )]
    Run(ScriptRunArgs),
}

/// `rockbot script run`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScriptRunArgs {
    /// The script, or - for standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// What the script finds in ROCKBOT_INPUT.
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// Seconds after which the script is ended.
    #[arg(long, value_name = "S", default_value_t = rockbot_scripts_api::DEFAULT_TIMEOUT_SECONDS)]
    pub(crate) timeout: u32,
    /// What to print: the script's own output, or the whole result as JSON.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) output: OutputFormat,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// For scripts.
    Json,
}
