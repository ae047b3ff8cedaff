//! From the flags and variables to what they mean. Errors name the variable, and never repeat a header.

use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use url::Url;
use uuid::Uuid;

use crate::OtlpArgs;

const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(60);

/// A variable that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{variable} {problem}")]
pub struct InvalidSetting {
    /// Name of the variable.
    pub variable: &'static str,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

/// What is sent, where, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) traces: Option<Url>,
    pub(crate) metrics: Option<Url>,
    pub(crate) headers: HeaderMap,
    /// Of one sending, attempts together.
    pub(crate) timeout: Duration,
    /// Between two sendings of metrics.
    pub(crate) interval: Duration,
    pub(crate) sampler: Sampler,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) captures_content: bool,
}

impl OtlpArgs {
    /// What is to be sent as `service`, unless that is given another name; `None` when nothing is.
    pub(crate) fn settings(&self, service: &str) -> Result<Option<Settings>, InvalidSetting> {
        if flag("OTEL_SDK_DISABLED", self.otel_sdk_disabled.as_ref())? {
            return Ok(None);
        }
        let base = given(self.otel_exporter_otlp_endpoint.as_ref());
        let base = base
            .map(|url| receiver("OTEL_EXPORTER_OTLP_ENDPOINT", url))
            .transpose()?;
        let of_signal = |(exporter, name), (endpoint, variable), path| -> Result<_, InvalidSetting> {
            if !exports(exporter, name)? {
                return Ok(None);
            }
            match given(endpoint) {
                Some(url) => receiver(variable, url).map(Some),
                None => Ok(base.clone().map(|url| below(url, path))),
            }
        };
        let traces = of_signal(
            ("OTEL_TRACES_EXPORTER", self.otel_traces_exporter.as_ref()),
            (
                self.otel_exporter_otlp_traces_endpoint.as_ref(),
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            ),
            "traces",
        )?;
        let metrics = of_signal(
            ("OTEL_METRICS_EXPORTER", self.otel_metrics_exporter.as_ref()),
            (
                self.otel_exporter_otlp_metrics_endpoint.as_ref(),
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            ),
            "metrics",
        )?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let protocol = given(self.otel_exporter_otlp_protocol.as_ref()).unwrap_or("http/protobuf");
        if protocol != "http/protobuf" {
            let problem = format!("is {protocol:?}; allowed is http/protobuf");
            return Err(invalid("OTEL_EXPORTER_OTLP_PROTOCOL", problem));
        }
        Ok(Some(Settings {
            traces,
            metrics,
            headers: headers(self.otel_exporter_otlp_headers.as_ref())?,
            timeout: milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", self.otel_exporter_otlp_timeout.as_ref())?
                .unwrap_or(TIMEOUT),
            interval: milliseconds("OTEL_METRIC_EXPORT_INTERVAL", self.otel_metric_export_interval.as_ref())?
                .unwrap_or(INTERVAL),
            sampler: self.sampler()?,
            resource: self.resource(service)?,
            captures_content: flag(
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
                self.otel_instrumentation_genai_capture_message_content.as_ref(),
            )?,
        }))
    }

    fn sampler(&self) -> Result<Sampler, InvalidSetting> {
        let name = given(self.otel_traces_sampler.as_ref()).unwrap_or("parentbased_always_on");
        let (is_parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio()?),
            _ => {
                let allowed = "always_on, always_off and traceidratio, each also after parentbased_";
                return Err(invalid(
                    "OTEL_TRACES_SAMPLER",
                    format!("is {name:?}; allowed are {allowed}"),
                ));
            }
        };
        Ok(if is_parent_based {
            Sampler::ParentBased(Box::new(root))
        } else {
            root
        })
    }

    fn ratio(&self) -> Result<f64, InvalidSetting> {
        let Some(text) = given(self.otel_traces_sampler_arg.as_ref()) else {
            return Ok(1.0);
        };
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| {
            let problem = format!("is {text:?}; allowed is a number from 0 to 1, for example 0.1");
            invalid("OTEL_TRACES_SAMPLER_ARG", problem)
        })
    }

    /// Replicas of a service differ in their `service.instance.id`, so that one's counts are not taken for another's.
    fn resource(&self, service: &str) -> Result<Vec<(String, String)>, InvalidSetting> {
        let mut resource = pairs(
            "OTEL_RESOURCE_ATTRIBUTES",
            given(self.otel_resource_attributes.as_ref()).unwrap_or_default(),
        )?;
        let own_name = given(self.otel_service_name.as_ref());
        if let Some(name) = own_name {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), name.to_owned()));
        }
        for (key, value) in [
            ("service.name", service.to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", Uuid::new_v4().to_string()),
        ] {
            if !resource.iter().any(|(other, _)| other == key) {
                resource.push((key.to_owned(), value));
            }
        }
        Ok(resource)
    }
}

fn invalid(variable: &'static str, problem: impl Into<String>) -> InvalidSetting {
    InvalidSetting {
        variable,
        problem: problem.into(),
    }
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn flag(variable: &'static str, text: Option<&String>) -> Result<bool, InvalidSetting> {
    match given(text) {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) => Err(invalid(variable, format!("is {text:?}; allowed are true and false"))),
    }
}

fn exports(variable: &'static str, text: Option<&String>) -> Result<bool, InvalidSetting> {
    match given(text).unwrap_or("otlp") {
        "otlp" => Ok(true),
        "none" => Ok(false),
        other => Err(invalid(variable, format!("is {other:?}; allowed are otlp and none"))),
    }
}

fn milliseconds(variable: &'static str, text: Option<&String>) -> Result<Option<Duration>, InvalidSetting> {
    let Some(text) = given(text) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number > 0);
    let problem = || invalid(variable, format!("is {text:?}; allowed is a number of milliseconds"));
    number
        .map(|number| Some(Duration::from_millis(number)))
        .ok_or_else(problem)
}

/// Credentials have their place in the headers, which are never shown.
fn receiver(variable: &'static str, text: &str) -> Result<Url, InvalidSetting> {
    let url = Url::parse(text).map_err(|error| invalid(variable, format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(
            variable,
            "must be an http or https URL, for example http://collector:4318",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            variable,
            "carries credentials; those belong into OTEL_EXPORTER_OTLP_HEADERS",
        ));
    }
    Ok(url)
}

fn below(mut base: Url, signal: &str) -> Url {
    // An http URL has a path.
    if let Ok(mut path) = base.path_segments_mut() {
        path.pop_if_empty().extend(["v1", signal]);
    }
    base
}

fn headers(text: Option<&SecretString>) -> Result<HeaderMap, InvalidSetting> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let pairs = pairs(VARIABLE, text.map(ExposeSecret::expose_secret).unwrap_or_default())?;
    pairs
        .into_iter()
        .enumerate()
        .map(|(index, (name, value))| {
            let problem = |_| invalid(VARIABLE, format!("has no valid header in entry {}", index + 1));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| problem(()))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| problem(()))?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}

/// `name=value` with commas between them, each percent-encoded where it has to be.
fn pairs(variable: &'static str, text: &str) -> Result<Vec<(String, String)>, InvalidSetting> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .enumerate()
        .map(|(index, entry)| {
            let pair = entry.split_once('=').and_then(|(name, value)| {
                let decoded = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
                Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
            });
            pair.ok_or_else(|| invalid(variable, format!("has no name=value in entry {}", index + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn args(flags: &[(&str, &str)]) -> OtlpArgs {
        let flags = flags.iter().map(|(name, value)| format!("--otel-{name}={value}"));
        let command = OtlpArgs::augment_args(Command::new("test"));
        let matches = command.get_matches_from(std::iter::once("test".to_owned()).chain(flags));
        OtlpArgs::from_arg_matches(&matches).unwrap()
    }

    fn settings(flags: &[(&str, &str)]) -> Settings {
        args(flags).settings("a-service").unwrap().unwrap()
    }

    #[test]
    fn without_a_receiver_nothing_is_sent() {
        for flags in [
            &[][..],
            &[("exporter-otlp-endpoint", "")],
            &[("service-name", "x"), ("traces-sampler", "nonsense that nobody reads")],
            &[("exporter-otlp-endpoint", "http://c:4318"), ("sdk-disabled", "true")],
            &[
                ("exporter-otlp-endpoint", "http://c:4318"),
                ("traces-exporter", "none"),
                ("metrics-exporter", "none"),
            ],
        ] {
            assert!(args(flags).settings("a").unwrap().is_none(), "{flags:?}");
        }
    }

    #[test]
    fn each_signal_has_its_url() {
        let urls = |flags: &[(&str, &str)]| {
            let Settings { traces, metrics, .. } = settings(flags);
            [traces, metrics].map(|url| url.map(|url| url.to_string()))
        };
        let some = |text: &str| Some(text.to_owned());
        for base in ["http://c:4318", "http://c:4318/"] {
            let expected = [some("http://c:4318/v1/traces"), some("http://c:4318/v1/metrics")];
            assert_eq!(urls(&[("exporter-otlp-endpoint", base)]), expected);
        }
        assert_eq!(
            urls(&[
                ("exporter-otlp-endpoint", "https://c/otlp"),
                ("exporter-otlp-metrics-endpoint", "http://d/here"),
            ]),
            [some("https://c/otlp/v1/traces"), some("http://d/here")]
        );
        assert_eq!(
            urls(&[("exporter-otlp-traces-endpoint", "http://d/here")]),
            [some("http://d/here"), None]
        );
        assert_eq!(
            urls(&[("exporter-otlp-endpoint", "http://c"), ("traces-exporter", "none")]),
            [None, some("http://c/v1/metrics")]
        );
    }

    #[test]
    fn the_resource_says_who_sends() {
        let resource = |mut flags: Vec<(&str, &str)>| {
            flags.push(("exporter-otlp-endpoint", "http://c"));
            settings(&flags).resource
        };
        let get = |resource: &[(String, String)], key: &str| {
            let values: Vec<_> = resource.iter().filter(|(name, _)| name == key).collect();
            assert!(values.len() < 2, "{resource:?}");
            values.first().map(|(_, value)| value.clone())
        };
        let plain = resource(vec![]);
        assert_eq!(get(&plain, "service.name").as_deref(), Some("a-service"));
        assert_ne!(
            get(&plain, "service.instance.id"),
            get(&resource(vec![]), "service.instance.id")
        );
        let named = resource(vec![
            ("resource-attributes", "service.name=no,k8s.namespace.name=a%20b, x=y=z"),
            ("service-name", "mine"),
        ]);
        assert_eq!(get(&named, "service.name").as_deref(), Some("mine"));
        assert_eq!(get(&named, "k8s.namespace.name").as_deref(), Some("a b"));
        assert_eq!(get(&named, "x").as_deref(), Some("y=z"));
    }

    #[test]
    fn headers_are_decoded_and_hidden() {
        let flags = [
            ("exporter-otlp-endpoint", "http://c"),
            ("exporter-otlp-headers", "Authorization=Bearer%20s3cret,x-team = a"),
        ];
        let settings = settings(&flags);
        assert_eq!(settings.headers["authorization"], "Bearer s3cret");
        assert_eq!(settings.headers["x-team"], "a");
        let shown = format!("{settings:?} {:?}", args(&flags));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named_without_its_secrets() {
        for (flag, value, words) in [
            (
                "exporter-otlp-endpoint",
                "c:4318",
                "OTEL_EXPORTER_OTLP_ENDPOINT must be",
            ),
            ("exporter-otlp-endpoint", "http://me:s3cret@c", "carries credentials"),
            ("exporter-otlp-protocol", "grpc", "allowed is http/protobuf"),
            ("exporter-otlp-headers", "a=b,s3cret", "entry 2"),
            ("exporter-otlp-headers", "a=b\u{7}s3cret", "no valid header in entry 1"),
            ("exporter-otlp-timeout", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT"),
            ("metric-export-interval", "0", "milliseconds"),
            ("traces-sampler", "jaeger_remote", "allowed are always_on"),
            ("traces-exporter", "zipkin", "allowed are otlp and none"),
            ("sdk-disabled", "yes", "true and false"),
        ] {
            let error = args(&[("exporter-otlp-metrics-endpoint", "http://c"), (flag, value)])
                .settings("a")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(words) && !error.contains("s3cret"),
                "{flag}={value}: {error}"
            );
        }
        let ratio = [
            ("exporter-otlp-endpoint", "http://c"),
            ("traces-sampler", "parentbased_traceidratio"),
            ("traces-sampler-arg", "10"),
        ];
        assert!(
            args(&ratio)
                .settings("a")
                .unwrap_err()
                .to_string()
                .contains("from 0 to 1")
        );
    }

    #[test]
    fn a_sampler_is_what_its_name_says() {
        for (name, ratio, expected) in [
            ("", "", "ParentBased(AlwaysOn)"),
            ("always_off", "", "AlwaysOff"),
            ("traceidratio", "0.25", "TraceIdRatioBased(0.25)"),
            ("parentbased_traceidratio", "", "ParentBased(TraceIdRatioBased(1.0))"),
        ] {
            let flags = [
                ("exporter-otlp-endpoint", "http://c"),
                ("traces-sampler", name),
                ("traces-sampler-arg", ratio),
            ];
            assert_eq!(format!("{:?}", settings(&flags).sampler), expected);
        }
    }
}
