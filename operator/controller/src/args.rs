//! Flags and environment: the only place that reads them.

use std::net::{IpAddr, SocketAddr};

use clap::{Parser, Subcommand, ValueEnum};
use rockbot_operator_plan::Settings;

/// Turns Agents and McpServers into pods, and says what became of them.
#[derive(Debug, Parser)]
#[command(name = "rockbot-operator", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Reconciles until it is told to stop.
    Run(Box<RunArgs>),
    /// Prints the definitions of all custom resources as YAML.
    Crds,
}

#[derive(Debug, Parser)]
pub(crate) struct RunArgs {
    /// Address of the HTTP API, the probes and the metrics.
    #[arg(long, env = "ROCKBOT_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// Namespace that RockBot is installed in: of the Lease, and of the pods that agents may reach.
    #[arg(long, env = "ROCKBOT_NAMESPACE")]
    pub(crate) namespace: String,
    /// Name of this pod: who it is when replicas elect the one that reconciles.
    #[arg(long, env = "ROCKBOT_POD_NAME")]
    pub(crate) pod_name: String,
    /// Image of agents that name none.
    #[arg(long, env = "ROCKBOT_AGENT_IMAGE")]
    pub(crate) agent_image: String,
    /// URL of the scripts manager, for agents.
    #[arg(long, env = "ROCKBOT_SCRIPTS_MANAGER_URL")]
    pub(crate) scripts_manager_url: String,
    /// Address of a DNS server that is not a pod labelled k8s-app=kube-dns in kube-system, as a CIDR. Repeatable.
    #[arg(long = "dns-cidr", env = "ROCKBOT_DNS_CIDR", value_delimiter = ',', value_parser = cidr)]
    pub(crate) dns_cidrs: Vec<String>,
    /// Where a model or MCP server with a public name may be beside the public internet, as a CIDR. Repeatable.
    #[arg(long = "model-egress-cidr", env = "ROCKBOT_MODEL_EGRESS_CIDR", value_delimiter = ',', value_parser = cidr)]
    pub(crate) model_egress_cidrs: Vec<String>,
    /// Lease that replicas elect the one that reconciles with.
    #[arg(long, env = "ROCKBOT_LEASE_NAME", default_value = "rockbot-operator")]
    pub(crate) lease_name: String,
    /// Format of the log.
    #[arg(long, env = "ROCKBOT_LOG_FORMAT", default_value = "json")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level, or levels by module.
    #[arg(long, env = "ROCKBOT_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl RunArgs {
    /// What plans are made with.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            namespace: self.namespace.clone(),
            agent_image: self.agent_image.clone(),
            scripts_manager_url: self.scripts_manager_url.clone(),
            dns_cidrs: self.dns_cidrs.clone(),
            model_egress_cidrs: self.model_egress_cidrs.clone(),
        }
    }
}

fn cidr(text: &str) -> Result<String, String> {
    let parsed = text.split_once('/').and_then(|(address, length)| {
        let most = if address.parse::<IpAddr>().ok()?.is_ipv4() {
            32
        } else {
            128
        };
        (length.parse::<u8>().ok()? <= most).then(|| text.to_owned())
    });
    parsed.ok_or_else(|| "must be an address and a prefix length, for example 10.0.0.10/32".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_cidr_is_an_address_and_a_length() {
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("fd00::/8", true),
            ("10.0.0.1", false),
            ("10.0.0.0/33", false),
            ("x/8", false),
        ] {
            assert_eq!(cidr(text).is_ok(), good, "{text}");
        }
    }
}
