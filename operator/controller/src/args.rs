//! Flags and environment: the only place that reads them.

use std::net::{IpAddr, SocketAddr};

use clap::{Parser, Subcommand};
use rockbot_crds::model::{PullSecret, SecretKeyRef};
use rockbot_operator_plan::{Endpoint, Settings, TelemetrySettings};
use rockbot_telemetry::{LogArgs, OtlpArgs};

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
    /// Secret with credentials for the registry of an image, in the namespaces of Agents and McpServers that name none
    /// themselves. Repeatable.
    #[arg(
        long = "image-pull-secret",
        env = "ROCKBOT_IMAGE_PULL_SECRET",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub(crate) image_pull_secrets: Vec<String>,
    /// URL of this operator's HTTP API, for agents.
    #[arg(long, env = "ROCKBOT_OPERATOR_URL")]
    pub(crate) operator_url: String,
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
    /// Secret of each agent's namespace with the headers that its OTLP receiver asks for, as NAME/KEY. An agent whose
    /// namespace has no such Secret sends without them. All else about traces and metrics is for agents as it is here.
    #[arg(long, env = "ROCKBOT_AGENT_OTLP_HEADERS_SECRET", value_name = "NAME/KEY", value_parser = secret_key)]
    pub(crate) agent_otlp_headers_secret: Option<SecretKeyRef>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) otlp: OtlpArgs,
}

impl RunArgs {
    /// What plans are made with.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            namespace: self.namespace.clone(),
            agent_image: self.agent_image.clone(),
            image_pull_secrets: self
                .image_pull_secrets
                .iter()
                .cloned()
                .map(|name| PullSecret { name })
                .collect(),
            operator_url: self.operator_url.clone(),
            scripts_manager_url: self.scripts_manager_url.clone(),
            dns_cidrs: self.dns_cidrs.clone(),
            model_egress_cidrs: self.model_egress_cidrs.clone(),
            telemetry: self.telemetry(),
        }
    }

    /// Agents send what this process sends, as far as a policy can let them.
    fn telemetry(&self) -> Option<TelemetrySettings> {
        let receivers: Vec<_> = self
            .otlp
            .receivers()
            .filter_map(|url| Endpoint::parse(url).ok())
            .collect();
        (!receivers.is_empty()).then(|| TelemetrySettings {
            receivers,
            variables: self.otlp.passed_on(),
            headers: self.agent_otlp_headers_secret.clone(),
        })
    }
}

fn secret_key(text: &str) -> Result<SecretKeyRef, String> {
    let parts = text
        .split_once('/')
        .filter(|(name, key)| !name.is_empty() && !key.is_empty());
    let (name, key) = parts.ok_or("must be NAME/KEY, for example otlp/headers")?;
    Ok(SecretKeyRef {
        name: name.to_owned(),
        key: key.to_owned(),
    })
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
