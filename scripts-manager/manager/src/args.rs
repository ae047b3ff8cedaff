//! Flags and environment, read once.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Parser, ValueEnum};
use rockbot_sandbox::{Amounts, Caps, MAX_FILES_BYTES, Seccomp, Shape, SupervisorSettings, Walls};
use rockbot_telemetry::{LogArgs, LogTo, OtlpArgs, start_log};
use url::Url;

/// The most files that can be let back: agents read answers of up to 32 MiB, in which these are 16 in base64 and a script's
/// output can be 6 twice, as it comes and in the result.
const MOST_FILES_BYTES: u64 = 12 << 20;

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
    /// What a parked script pod asks for.
    #[arg(
        long,
        env = "ROCKBOT_SCRIPTS_REQUESTS",
        default_value = "cpu=10m,memory=48Mi,ephemeral-storage=16Mi"
    )]
    pub requests: Amounts,
    /// What a script pod may use.
    #[arg(
        long,
        env = "ROCKBOT_SCRIPTS_LIMITS",
        default_value = "cpu=500m,memory=256Mi,ephemeral-storage=256Mi"
    )]
    pub limits: Amounts,
    /// RuntimeClass of script pods; the node's usual runtime without one.
    #[arg(long, env = "ROCKBOT_SCRIPTS_RUNTIME_CLASS")]
    pub runtime_class: Option<String>,
    /// Whether user ids in a script pod are the node's own; `false` gives each pod a user namespace.
    #[arg(long, env = "ROCKBOT_SCRIPTS_HOST_USERS", action = clap::ArgAction::Set, default_value_t = true)]
    pub host_users: bool,
    /// What a script pod does when a wall inside it is missing.
    #[arg(long, env = "ROCKBOT_SCRIPTS_WALLS", value_enum, default_value_t = Strictness::Strict)]
    pub walls: Strictness,
    /// Whether to make no script pod before the admission policy of their namespace was seen to refuse another pod.
    #[arg(long, env = "ROCKBOT_REQUIRE_ADMISSION_POLICY", action = clap::ArgAction::Set, default_value_t = false)]
    pub require_admission_policy: bool,
    /// Simple index (PEP 503) that packages for scripts are installed from, alone. Without one scripts get no packages.
    #[arg(long, env = "ROCKBOT_PACKAGE_INDEX")]
    pub package_index: Option<PackageIndex>,
    /// Packages that scripts may name, with commas between them; `*` for all of the index.
    #[arg(long, env = "ROCKBOT_PACKAGE_ALLOW", value_delimiter = ',', default_value = "*")]
    pub package_allow: Vec<String>,
    /// Directory that installed packages are kept in.
    #[arg(long, env = "ROCKBOT_PACKAGE_CACHE", default_value = "/cache")]
    pub package_cache: PathBuf,
    /// Size of that directory in bytes; `k`, `M`, `G`, `Ki`, `Mi` and `Gi` may follow.
    #[arg(long, env = "ROCKBOT_PACKAGE_CACHE_SIZE", default_value = "1Gi", value_parser = parse_bytes)]
    pub package_cache_size: u64,
    /// Address of the canary, a port that script pods try to reach and must not.
    #[arg(long, env = "ROCKBOT_CANARY_LISTEN", default_value = "0.0.0.0:8081")]
    pub canary_listen: SocketAddr,
    /// Address of this manager's own pod, at which script pods look for the canary. Without one there is no canary.
    #[arg(long, env = "ROCKBOT_POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// Whether a script pod that reached the canary is refused: no policy stopped it.
    #[arg(long, env = "ROCKBOT_REQUIRE_NETWORK_POLICY", action = clap::ArgAction::Set, default_value_t = false)]
    pub require_network_policy: bool,
    /// Parked pods to keep however little there is to do; with 0, and nothing to do, a script waits for a pod to start.
    #[arg(long, env = "ROCKBOT_POOL_MIN", default_value_t = 3)]
    pub pool_min: usize,
    /// Parked pods to keep at most, however much there is to do. A smaller number than the minimum means that.
    #[arg(long, env = "ROCKBOT_POOL_MAX", default_value_t = 10)]
    pub pool_max: usize,
    /// Seconds after which a parked pod is replaced, more or less: load balancers and API servers close idle streams. The kubelet
    /// ends a pod after 30 minutes, its script included.
    #[arg(
        long, env = "ROCKBOT_POOL_MAX_AGE_SECONDS", default_value_t = 1200,
        value_parser = clap::value_parser!(u64).range(1..=1200)
    )]
    pub pool_max_age_seconds: u64,
    /// Scripts that may wait for a pod; one more is refused with 429.
    #[arg(long, env = "ROCKBOT_QUEUE_SIZE", default_value_t = 64)]
    pub queue_size: usize,
    /// Scripts that run at the same time.
    #[arg(long, env = "ROCKBOT_MAX_CONCURRENT", default_value_t = 16)]
    pub max_concurrent: usize,
    /// Scripts of one agent that run at the same time.
    #[arg(long, env = "ROCKBOT_MAX_CONCURRENT_PER_AGENT", default_value_t = 4)]
    pub max_concurrent_per_agent: usize,
    /// Bytes of the files that a script hands back, all together; what exceeds them is named in the result instead.
    #[arg(
        long, env = "ROCKBOT_MAX_FILES_BYTES", default_value_t = MAX_FILES_BYTES,
        value_parser = clap::value_parser!(u64).range(..=MOST_FILES_BYTES)
    )]
    pub max_files_bytes: u64,
    /// The supervisor's seccomp filter. `off` takes a wall away, to test the others without it: pods whose walls are `strict`
    /// refuse to run scripts then.
    #[arg(long, env = "ROCKBOT_SANDBOX_SECCOMP", value_enum, default_value_t = Switch::On)]
    pub seccomp: Switch,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub otlp: OtlpArgs,
}

/// What a script pod does about a missing wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strictness {
    /// Refuses to run scripts.
    Strict,
    /// Goes without it, and says so.
    Baseline,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// As it should be.
    On,
    /// For tests.
    Off,
}

impl Args {
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            image: self.image.clone(),
            requests: self.requests.clone(),
            limits: self.limits.clone(),
            runtime_class: self.runtime_class.clone(),
            host_users: self.host_users,
        }
    }

    pub(crate) fn supervisor(&self) -> SupervisorSettings {
        SupervisorSettings {
            walls: match self.walls {
                Strictness::Strict => Walls::Strict,
                Strictness::Baseline => Walls::Baseline,
            },
            seccomp: match self.seccomp {
                Switch::On => Seccomp::On,
                Switch::Off => Seccomp::Off,
            },
            canary: self.canary(),
            ..SupervisorSettings::default()
        }
    }

    /// What a script may hand back.
    pub(crate) fn caps(&self) -> Caps {
        Caps {
            files_bytes: self.max_files_bytes,
            ..Caps::default()
        }
    }

    /// Where script pods look for the canary.
    pub(crate) fn canary(&self) -> Option<SocketAddr> {
        self.pod_ip.map(|ip| SocketAddr::new(ip, self.canary_listen.port()))
    }
}

/// URL of a simple index. It travels to a pod and into the log, so it holds no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageIndex(String);

impl PackageIndex {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageIndex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
            return Err("an http or https URL without user, password, query and fragment is needed".to_owned());
        }
        Ok(Self(url.into()))
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[end..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(format!("{text:?} is no size; write for example 512Mi or 2Gi")),
    };
    let number: u64 = text[..end]
        .parse()
        .map_err(|_| format!("{text:?} is no size; write for example 512Mi or 2Gi"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
}

/// Starts logging, and says at once when a wall is off.
pub(crate) fn start_logging(args: &Args) {
    start_log(&args.log, LogTo::Stdout);
    if args.seccomp == Switch::Off {
        let outcome = match args.walls {
            Strictness::Strict => "script pods refuse to run scripts",
            Strictness::Baseline => "scripts run without that wall",
        };
        tracing::warn!("ROCKBOT_SANDBOX_SECCOMP=off: {outcome}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t17_the_url_of_a_package_index_holds_no_secret() {
        for url in ["https://index.example/simple", "http://index.ns.svc:8080/root/simple/"] {
            assert_eq!(url.parse::<PackageIndex>().unwrap().as_str(), url);
        }
        for url in [
            "https://me:secret@index.example/simple",
            "https://me@index.example/simple",
            "https://index.example/simple?key=secret",
            "file:///packages",
            "index.example/simple",
        ] {
            let error = url.parse::<PackageIndex>().unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        let cases = [
            ("5", 5),
            ("2k", 2000),
            ("3Ki", 3 << 10),
            ("512Mi", 512 << 20),
            ("1G", 1_000_000_000),
            ("2Gi", 2 << 30),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "Gi", "1.5Gi", "1T", "-1", "99999999999999Gi"] {
            parse_bytes(text).unwrap_err();
        }
    }
}
