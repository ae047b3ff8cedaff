//! The process of an agent: its flags, its log, and the signal that stops it.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use rockbot_agent::{Environment, peers::Directory, skills::Skill};
use rockbot_agent_config::{AgentConfig, Limits};
use rockbot_operator_api::ClientSettings;
use rockbot_scripts_api::{Client, ScriptRunner};
use rockbot_telemetry::{LogTo, Telemetry, start_log, stop_on_signal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::{AgentResolver, Drain, Server, args::Args, discovery::Discovery, serve};

/// What it calls itself in traces and metrics, unless it is told otherwise.
const SERVICE: &str = "rockbot-agent";

/// How long Kubernetes may go on to send requests after it has told the process to stop.
const LINGER: Duration = Duration::from_secs(3);
/// What the last byte of an answer may take beyond the answer itself.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The whole of an agent's binary: serves the agent that its configuration file describes until it is told to stop.
///
/// ```no_run
/// use rockbot_agent::sdk::skill;
/// use rockbot_agent_server::Program;
///
/// struct Dice;
///
/// #[skill]
/// impl Dice {
///     /// Says how many sides a die has.
///     #[tool]
///     fn sides() -> u32 {
///         6
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     Program::new().skill(Dice).main()
/// }
/// ```
#[derive(Default)]
pub struct Program {
    skills: Vec<Arc<dyn Skill>>,
    resolver: Option<MakeResolver>,
}

/// Makes a resolver of what the configuration file says.
type MakeResolver = Box<dyn FnOnce(&AgentConfig) -> Arc<dyn AgentResolver>>;

impl Program {
    /// An agent as `rockbot-agent` is one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `skill` to the agent, and to those that the resolver finds.
    #[must_use]
    pub fn skill(mut self, skill: impl Skill) -> Self {
        self.skills.push(Arc::new(skill));
        self
    }

    /// Adds agents that are found by name when somebody asks for them, mostly an [`OnDemand`](crate::OnDemand). `make` is
    /// lent what the configuration file says of the agent, which names its model and who may ask.
    #[must_use]
    pub fn resolver<R: AgentResolver + 'static>(mut self, make: impl FnOnce(&AgentConfig) -> R + 'static) -> Self {
        self.resolver = Some(Box::new(|config| Arc::new(make(config))));
        self
    }

    /// Reads flags and environment, serves, and says how it ended.
    ///
    /// One thread serves an agent: it waits for models and tools, and a thread less is memory less. Replicas are how it
    /// grows.
    pub fn main(self) -> ExitCode {
        let args = Args::parse();
        start_log(&args.log, LogTo::Stdout);
        allow_connections();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(self.run(args)),
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

    async fn run(self, args: Args) -> Result<()> {
        let shutdown = stop_on_signal()?;
        if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
            anyhow::bail!("another TLS provider is installed already");
        }
        let mut telemetry = Telemetry::start(&args.otlp, SERVICE)?;
        let config = read(&args.config)?;
        let (name, drain) = (config.name.clone(), drain(&config.limits));
        let server = Server::within(Environment {
            scripts: scripts(&args, &config)?,
            directory: directory(&args),
            skills: self.skills,
            ..Environment::default()
        });
        if let Some(make) = self.resolver {
            server.set_resolver(make(&config));
        }
        server.set_agents(vec![config])?;
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        info!(agent = name, address = %listener.local_addr()?, "serving");
        let counted = Arc::clone(&server);
        telemetry.push_metrics(move || counted.metrics_text().ok());
        serve(listener, server, drain, shutdown).await;
        telemetry.end().await;
        Ok(())
    }
}

fn read(file: &Path) -> Result<AgentConfig> {
    let path = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {path}"))?;
    serde_json::from_str(&text).with_context(|| format!("{path} is no agent"))
}

/// A request that came at the last moment may take as long as any other.
fn drain(limits: &Limits) -> Drain {
    Drain {
        linger: LINGER,
        deadline: Duration::from_secs(limits.request_timeout_seconds.into()) + LAST_WORDS,
    }
}

/// As many connections as the system allows this process: each answer under way takes two, and what is granted unasked is
/// often 1024, for the sake of programs that cannot count further.
fn allow_connections() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        warn!("cannot raise the limit of open files: {error}");
    }
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
    let client = Client::new(rockbot_scripts_api::ClientSettings {
        url: url.clone(),
        token_file: token_file.clone(),
    })?;
    Ok(Some(Arc::new(client)))
}

/// The operator, for an agent that is told where it is.
fn directory(args: &Args) -> Option<Arc<dyn Directory>> {
    let settings = ClientSettings {
        url: args.operator_url.clone()?,
        token_file: args.operator_token_file.clone()?,
    };
    Some(Arc::new(Discovery::new(settings, args.namespace.clone()?)))
}

#[cfg(test)]
mod tests {
    use rockbot_agent_config::SHUTDOWN_SECONDS;
    use rockbot_telemetry::FLUSH_DEADLINE;

    use super::*;

    #[test]
    fn the_longest_request_ends_before_the_kubelet_loses_patience() {
        for request_timeout_seconds in [1, 300, 3600] {
            let Drain { linger, deadline } = drain(&Limits {
                request_timeout_seconds,
                ..Limits::default()
            });
            let longest = Duration::from_secs(request_timeout_seconds.into());
            assert!(deadline > longest, "a request is cut off that may still run");
            let grace = longest + Duration::from_secs(SHUTDOWN_SECONDS.into());
            assert!(linger + deadline + FLUSH_DEADLINE < grace, "the process is killed");
        }
    }
}
