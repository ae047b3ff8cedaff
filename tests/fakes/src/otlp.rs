//! A receiver of OTLP over HTTP that tells what it was sent: `POST /otlp/{name}/v1/traces` and `/v1/metrics`, and
//! `GET /otlp/{name}` for all of it, in words that tests can compare.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    metrics::v1::{Metric as OtlpMetric, metric::Data, number_data_point},
    resource::v1::Resource,
    trace::v1::{Span as OtlpSpan, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// Messages that are remembered under one name.
const REMEMBERED: usize = 10_000;

/// A span as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// `service.name` of its sender.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `client`, `server` or `internal`.
    pub kind: &'static str,
    /// Identity of its trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its identity.
    pub span_id: String,
    /// Identity of the span that it is part of; empty when it is part of none.
    pub parent_span_id: String,
    /// What is told of it.
    pub attributes: BTreeMap<String, Value>,
    /// Whether it failed.
    pub is_error: bool,
}

/// The last value of a series as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// `service.name` of its sender.
    pub service: String,
    /// Name of the metric.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// What tells the series from others.
    pub attributes: BTreeMap<String, Value>,
    /// The number, or how many a histogram has counted.
    pub value: f64,
}

/// Everything that was sent under one name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Received {
    /// Spans, in the order in which they came.
    pub spans: Vec<Span>,
    /// Points of all messages, in their order.
    pub points: Vec<Point>,
    /// Headers of the messages.
    pub headers: Vec<BTreeMap<String, String>>,
    /// The messages as they came, as text as far as they are text: to look for what must not be in them.
    #[serde(skip)]
    pub text: String,
}

/// Clones are the same receiver.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    by_name: Arc<Mutex<HashMap<String, Received>>>,
}

/// A receiver on a port of its own, for tests in the same process. It stops when dropped.
pub struct FakeCollector {
    address: SocketAddr,
    receiver: Receiver,
    task: JoinHandle<()>,
}

impl FakeCollector {
    /// Starts a receiver on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let receiver = Receiver::default();
        let router = router(receiver.clone());
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self {
            address,
            receiver,
            task,
        })
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be.
    pub fn endpoint(&self) -> String {
        format!("http://{}/otlp/test", self.address)
    }

    /// Everything that was sent so far.
    pub fn received(&self) -> Received {
        self.receiver.received("test")
    }
}

impl Drop for FakeCollector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    fn received(&self, name: &str) -> Received {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    fn take(&self, name: &str, headers: &HeaderMap, body: &[u8], add: impl FnOnce(&mut Received)) {
        let mut by_name = self.lock();
        let received = by_name.entry(name.to_owned()).or_default();
        if received.headers.len() >= REMEMBERED {
            return;
        }
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        received.headers.push(headers.collect());
        received.text.push_str(&String::from_utf8_lossy(body));
        add(received);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Received>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/otlp/{name}", get(all))
        .route("/otlp/{name}/v1/traces", post(traces))
        .route("/otlp/{name}/v1/metrics", post(metrics))
        .with_state(receiver)
}

async fn all(State(receiver): State<Receiver>, Path(name): Path<String>) -> Json<Received> {
    Json(receiver.received(&name))
}

async fn traces(
    State(receiver): State<Receiver>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Ok(message) = ExportTraceServiceRequest::decode(&*body) else {
        return StatusCode::BAD_REQUEST;
    };
    receiver.take(&name, &headers, &body, |received| {
        for resource_spans in message.resource_spans {
            let service = service(resource_spans.resource.as_ref());
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.spans.extend(spans.map(|found| span(&service, found)));
        }
    });
    StatusCode::OK
}

async fn metrics(
    State(receiver): State<Receiver>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Ok(message) = ExportMetricsServiceRequest::decode(&*body) else {
        return StatusCode::BAD_REQUEST;
    };
    receiver.take(&name, &headers, &body, |received| {
        for resource_metrics in message.resource_metrics {
            let service = service(resource_metrics.resource.as_ref());
            let metrics = resource_metrics
                .scope_metrics
                .into_iter()
                .flat_map(|scope| scope.metrics);
            received
                .points
                .extend(metrics.flat_map(|metric| points(&service, metric)));
        }
    });
    StatusCode::OK
}

fn service(resource: Option<&Resource>) -> String {
    let found = resource
        .map(|resource| values(&resource.attributes))
        .unwrap_or_default();
    found
        .get("service.name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn span(service: &str, span: OtlpSpan) -> Span {
    let kind = match span.kind() {
        SpanKind::Client => "client",
        SpanKind::Server => "server",
        SpanKind::Internal => "internal",
        _ => "other",
    };
    Span {
        service: service.to_owned(),
        kind,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: hex(&span.parent_span_id),
        attributes: values(&span.attributes),
        is_error: span.status.is_some_and(|status| status.code() == SpanStatus::Error),
        name: span.name,
    }
}

fn points(service: &str, metric: OtlpMetric) -> Vec<Point> {
    let number = |value: Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    };
    let found: Vec<_> = match metric.data {
        Some(Data::Sum(sum)) => sum
            .data_points
            .into_iter()
            .map(|point| (point.attributes, number(point.value)))
            .collect(),
        Some(Data::Gauge(gauge)) => gauge
            .data_points
            .into_iter()
            .map(|point| (point.attributes, number(point.value)))
            .collect(),
        Some(Data::Histogram(histogram)) => histogram
            .data_points
            .into_iter()
            .map(|point| (point.attributes, point.count as f64))
            .collect(),
        _ => Vec::new(),
    };
    let point = |(attributes, value): (Vec<KeyValue>, f64)| Point {
        service: service.to_owned(),
        name: metric.name.clone(),
        unit: metric.unit.clone(),
        attributes: values(&attributes),
        value,
    };
    found.into_iter().map(point).collect()
}

fn values(attributes: &[KeyValue]) -> BTreeMap<String, Value> {
    let one = |attribute: &KeyValue| (attribute.key.clone(), value(attribute.value.as_ref()));
    attributes.iter().map(one).collect()
}

fn value(value_of: Option<&AnyValue>) -> Value {
    match value_of.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(yes)) => json!(yes),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|item| value(Some(item))).collect(),
        _ => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
