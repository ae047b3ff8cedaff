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
    Dev(Box<DevArgs>),
    /// Talk to an agent in the terminal.
    #[command(
        after_help = "Examples:\n  rockbot chat\n  rockbot chat assistant --url http://localhost:8080\n  rockbot chat analyst --output-dir plots\n  echo 'hello' | rockbot chat assistant"
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
    /// Directory for what agents with a volume keep (spec.storage); made when there is something to keep.
    #[arg(long, env = "ROCKBOT_STATE_DIR", default_value = ".rockbot", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    #[command(flatten)]
    pub(crate) otlp: rockbot_telemetry::OtlpArgs,
}

/// `rockbot chat`.
#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// Name of the agent; may be left out where the server has just one.
    pub(crate) agent: Option<String>,
    /// Base URL of the server.
    #[arg(long, env = "ROCKBOT_URL", default_value = "http://localhost:8080")]
    pub(crate) url: Url,
    /// Directory for the files that the agent's scripts make, such as plots; files of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
}

/// `rockbot script`.
#[derive(Debug, Subcommand)]
pub(crate) enum ScriptCommand {
    /// Run one Python script and exit with its exit code.
    #[command(
        after_help = "Examples:\n  rockbot script run job.py\n  echo 'print(6*7)' | rockbot script run -\n  rockbot script run --input '{\"n\": 3}' --timeout 5 --output json job.py\n  rockbot script run --package matplotlib --input @data.json --output-dir plots plot.py\n\nOn a cluster, as one of its agents:\n  kubectl --namespace rockbot-system port-forward service/rockbot-scripts-manager 8080\n  kubectl create token agent-assistant --audience rockbot-scripts-manager > token\n  rockbot script run --url http://localhost:8080 --token-file token job.py\n\nExit code: the script's own; 124 when the timeout ended it; 125 when it could not be run."
    )]
    Run(Box<ScriptRunArgs>),
    /// Measure the sandbox of this machine, and check that no run is lost, mixed up or left behind.
    #[command(
        after_help = "Examples:\n  rockbot script bench\n  rockbot script bench -n 10000 --parallel 4 --output json\n\nExit code: 1 when a run went wrong or something is left behind."
    )]
    Bench(ScriptBenchArgs),
    /// Say which walls hold on this machine or on a cluster, and what to do about those that do not.
    #[command(
        after_help = "Examples:\n  rockbot script doctor\n  rockbot script doctor --output json | jq '.walls[] | select(.holds | not)'\n\nOf a cluster:\n  kubectl --namespace rockbot-system port-forward service/rockbot-scripts-manager 8080\n  rockbot script doctor --url http://localhost:8080\n\nExit code: 1 when a wall is missing or was not tried yet."
    )]
    Doctor(ScriptDoctorArgs),
}

/// `rockbot script run`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScriptRunArgs {
    /// The script, or - for standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// What the script finds in ROCKBOT_INPUT and in the file that ROCKBOT_INPUT_FILE names.
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) input: Option<String>,
    /// Seconds after which the script is ended.
    #[arg(long, value_name = "S", default_value_t = rockbot_scripts_api::DEFAULT_TIMEOUT_SECONDS)]
    pub(crate) timeout: u32,
    /// Python package that the script imports, with a version or without; may be given more than once.
    #[arg(long = "package", value_name = "NAME")]
    pub(crate) packages: Vec<String>,
    /// Directory for the files that the script leaves in ROCKBOT_OUTPUT_DIR; files of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// What to print: the script's own output as it comes, or the whole result as JSON.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) output: OutputFormat,
    /// Scripts manager that runs the script, instead of this machine.
    #[arg(long, requires = "token_file")]
    pub(crate) url: Option<Url>,
    /// File with a token of an agent's ServiceAccount for the scripts manager.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `rockbot script bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScriptBenchArgs {
    /// Scripts to run: first at most 200 one at a time, then the others as fast as they go.
    #[arg(short = 'n', long = "runs", value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
    /// Scripts at the same time, of those that go as fast as they can.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) parallel: u32,
    /// How to print the figures.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) output: OutputFormat,
}

/// `rockbot script doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScriptDoctorArgs {
    /// Scripts manager of the cluster to look at, instead of this machine.
    #[arg(long)]
    pub(crate) url: Option<Url>,
    /// How to print the findings.
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
