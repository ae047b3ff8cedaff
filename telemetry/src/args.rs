//! Flags and environment variables that the processes have in common.

use clap::ValueEnum;
use secrecy::SecretString;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// What is logged, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// Form of log lines.
    #[arg(long, env = "ROCKBOT_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by module, such as `info,rmcp=debug`.
    #[arg(long, env = "ROCKBOT_LOG_LEVEL", default_value = "info", value_parser = crate::log::levels)]
    pub log_level: Targets,
}

impl LogArgs {
    /// What goes wrong, for a person who watches.
    pub fn of_warnings() -> Self {
        Self {
            log_format: LogFormat::Text,
            log_level: Targets::new().with_default(LevelFilter::WARN),
        }
    }
}

/// Forms of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Text, for people.
    Text,
}

/// Where traces and metrics go: OpenTelemetry's standard variables, of which an empty one counts as absent.
///
/// What the SDK bounds (`OTEL_BSP_*`, `OTEL_SPAN_*`) it reads itself.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "OpenTelemetry")]
pub struct OtlpArgs {
    /// OTLP receiver for traces and metrics, over HTTP; `/v1/traces` and `/v1/metrics` are appended. Off without one.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        hide_short_help = true
    )]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// OTLP receiver for traces, used as it is.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        value_name = "URL",
        hide_short_help = true
    )]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// OTLP receiver for metrics, used as it is.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        value_name = "URL",
        hide_short_help = true
    )]
    pub otel_exporter_otlp_metrics_endpoint: Option<String>,
    /// Headers of every request to the receiver: `name=value`, with commas between them.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        hide_env_values = true,
        value_name = "HEADERS",
        hide_short_help = true
    )]
    pub otel_exporter_otlp_headers: Option<SecretString>,
    /// Protocol of the receiver; `http/protobuf` is the one that is spoken.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        value_name = "NAME",
        hide_short_help = true
    )]
    pub otel_exporter_otlp_protocol: Option<String>,
    /// Milliseconds that sending may take, attempts together [default: 10000].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", value_name = "MS", hide_short_help = true)]
    pub otel_exporter_otlp_timeout: Option<String>,
    /// `otlp`, or `none` to send no traces.
    #[arg(long, env = "OTEL_TRACES_EXPORTER", value_name = "NAME", hide_short_help = true)]
    pub otel_traces_exporter: Option<String>,
    /// `otlp`, or `none` to send no metrics.
    #[arg(long, env = "OTEL_METRICS_EXPORTER", value_name = "NAME", hide_short_help = true)]
    pub otel_metrics_exporter: Option<String>,
    /// Which traces are sent [default: `parentbased_always_on`].
    #[arg(long, env = "OTEL_TRACES_SAMPLER", value_name = "NAME", hide_short_help = true)]
    pub otel_traces_sampler: Option<String>,
    /// Share of traces that a sampler by ratio sends, from 0 to 1.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", hide_short_help = true)]
    pub otel_traces_sampler_arg: Option<String>,
    /// Milliseconds between two sendings of metrics [default: 60000].
    #[arg(long, env = "OTEL_METRIC_EXPORT_INTERVAL", value_name = "MS", hide_short_help = true)]
    pub otel_metric_export_interval: Option<String>,
    /// Name of this service in traces and metrics.
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", hide_short_help = true)]
    pub otel_service_name: Option<String>,
    /// More about this service: `name=value`, with commas between them.
    #[arg(
        long,
        env = "OTEL_RESOURCE_ATTRIBUTES",
        value_name = "ATTRIBUTES",
        hide_short_help = true
    )]
    pub otel_resource_attributes: Option<String>,
    /// Whether traces carry what is said to models and tools and what they answer: `true` or `false`.
    #[arg(
        long,
        env = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        value_name = "BOOL",
        hide_short_help = true
    )]
    pub otel_instrumentation_genai_capture_message_content: Option<String>,
    /// `true` switches traces and metrics off, whatever else is said.
    #[arg(long, env = "OTEL_SDK_DISABLED", value_name = "BOOL", hide_short_help = true)]
    pub otel_sdk_disabled: Option<String>,
}

impl OtlpArgs {
    /// The variables with which another process sends the same to the same place, as another service. Headers are not among
    /// them: they may hold a secret.
    pub fn passed_on(&self) -> Vec<(&'static str, String)> {
        let Self {
            otel_exporter_otlp_endpoint,
            otel_exporter_otlp_traces_endpoint,
            otel_exporter_otlp_metrics_endpoint,
            otel_exporter_otlp_headers: _,
            otel_exporter_otlp_protocol,
            otel_exporter_otlp_timeout,
            otel_traces_exporter,
            otel_metrics_exporter,
            otel_traces_sampler,
            otel_traces_sampler_arg,
            otel_metric_export_interval,
            otel_service_name: _,
            otel_resource_attributes: _,
            otel_instrumentation_genai_capture_message_content,
            otel_sdk_disabled,
        } = self;
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", otel_exporter_otlp_endpoint),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", otel_exporter_otlp_traces_endpoint),
            (
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                otel_exporter_otlp_metrics_endpoint,
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", otel_exporter_otlp_protocol),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", otel_exporter_otlp_timeout),
            ("OTEL_TRACES_EXPORTER", otel_traces_exporter),
            ("OTEL_METRICS_EXPORTER", otel_metrics_exporter),
            ("OTEL_TRACES_SAMPLER", otel_traces_sampler),
            ("OTEL_TRACES_SAMPLER_ARG", otel_traces_sampler_arg),
            ("OTEL_METRIC_EXPORT_INTERVAL", otel_metric_export_interval),
            (
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
                otel_instrumentation_genai_capture_message_content,
            ),
            ("OTEL_SDK_DISABLED", otel_sdk_disabled),
        ];
        let given = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        given.filter(|(_, value)| !value.is_empty()).collect()
    }

    /// URLs of the receivers.
    pub fn receivers(&self) -> impl Iterator<Item = &str> {
        let receivers = [
            &self.otel_exporter_otlp_endpoint,
            &self.otel_exporter_otlp_traces_endpoint,
            &self.otel_exporter_otlp_metrics_endpoint,
        ];
        let given = receivers.into_iter().filter_map(Option::as_deref);
        given.filter(|url| !url.is_empty())
    }
}
