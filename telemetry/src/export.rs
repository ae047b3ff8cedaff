//! The sending of traces and metrics, from the start of a process to its end.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    InvalidSetting, OtlpArgs, metrics,
    send::Sender,
    settings::Settings,
    span::{self, Tracing},
    traces,
};

/// Time for what was not sent yet at the end; a receiver that is away does not hold a process up.
pub const FLUSH_DEADLINE: Duration = Duration::from_millis(1500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends traces and metrics while it exists, if that is wanted at all.
#[must_use = "what was not sent yet is sent by `end`"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<(Sender, Settings)>,
    pushing: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Telemetry {
    /// Starts to send as `service` what `args` ask for. Needs a tokio runtime and a TLS provider.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the variable.
    pub fn start(args: &OtlpArgs, service: &str) -> Result<Self, InvalidSetting> {
        let mut telemetry = Self {
            traces: None,
            metrics: None,
            pushing: Vec::new(),
            stop: CancellationToken::new(),
        };
        let Some(settings) = args.settings(service)? else {
            return Ok(telemetry);
        };
        let http = http_client(&settings)?;
        let sender = |url: &Url| Sender::new(http.clone(), url.clone(), settings.headers.clone(), settings.timeout);
        if let Some(url) = &settings.traces {
            let (provider, tracer) = traces::start(sender(url), &settings);
            telemetry.traces = Some(provider);
            span::start(Tracing {
                tracer,
                captures_content: settings.captures_content,
            });
        }
        telemetry.metrics = settings.metrics.as_ref().map(sender).map(|sender| (sender, settings));
        Ok(telemetry)
    }

    /// Sends now and then, and at the end, what `/metrics` would say: `text` gives it.
    pub fn push_metrics(&mut self, text: impl Fn() -> Option<String> + Send + 'static) {
        let Some((sender, settings)) = self.metrics.take() else {
            return;
        };
        self.pushing
            .push(tokio::spawn(push(sender, settings, text, self.stop.clone())));
    }

    /// Sends what was not sent yet, within a moment.
    pub async fn end(self) {
        self.stop.cancel();
        let flush_traces = async {
            if let Some(provider) = self.traces {
                // It blocks until the runtime, which may have this one thread, has sent the last batch.
                let flush = move || provider.shutdown_with_timeout(FLUSH_DEADLINE);
                let _ = tokio::task::spawn_blocking(flush).await;
            }
        };
        let flush_metrics = futures::future::join_all(self.pushing);
        let _ = tokio::time::timeout(FLUSH_DEADLINE, async { tokio::join!(flush_traces, flush_metrics) }).await;
    }
}

async fn push(sender: Sender, settings: Settings, text: impl Fn() -> Option<String>, stop: CancellationToken) {
    let started = SystemTime::now();
    let resource = resource(&settings);
    loop {
        let is_last = stop.run_until_cancelled(sleep(settings.interval)).await.is_none();
        if let Some(text) = text() {
            sender.clone().send(request(&text, started, resource.clone())).await;
        }
        if is_last {
            return;
        }
    }
}

fn request(text: &str, started: SystemTime, resource: Resource) -> ExportMetricsServiceRequest {
    let scope_metrics = ScopeMetrics {
        scope: Some(InstrumentationScope {
            name: "rockbot".to_owned(),
            ..InstrumentationScope::default()
        }),
        metrics: metrics::of(text, started, SystemTime::now()),
        ..ScopeMetrics::default()
    };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource_metrics],
    }
}

fn resource(settings: &Settings) -> Resource {
    let attributes = settings.resource.iter().map(|(key, value)| attribute(key, value));
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn http_client(settings: &Settings) -> Result<reqwest::Client, InvalidSetting> {
    let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
    let urls = [&settings.traces, &settings.metrics];
    let http = rockbot_http::build(http, urls.into_iter().flatten().map(Url::as_str));
    http.map_err(|error| InvalidSetting {
        variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
        problem: format!("needs an HTTP client, which cannot be set up: {error}"),
    })
}
