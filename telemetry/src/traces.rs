//! Traces: from the SDK's finished spans to messages of OTLP.

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::Handle;

use crate::{send::Sender, settings::Settings};

/// Name of what makes the spans.
const SCOPE: &str = "rockbot";

/// Starts to collect spans and to send them in batches. Needs a tokio runtime, of whatever kind: the batches are made in
/// a thread of their own, and sent by the runtime.
pub(crate) fn start(sender: Sender, settings: &Settings) -> (SdkTracerProvider, SdkTracer) {
    let attributes = settings.resource.iter().cloned();
    let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
    let exporter = Exporter {
        sender,
        runtime: Handle::current(),
        resource: ResourceAttributesWithSchema::default(),
    };
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_attributes(attributes).build())
        .with_sampler(settings.sampler.clone())
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer(SCOPE);
    (provider, tracer)
}

#[derive(Debug)]
struct Exporter {
    sender: Sender,
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let message = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        // A receiver that takes nothing was complained of; a runtime that ends takes the sending with it.
        let _ = self.runtime.spawn(self.sender.clone().send(message)).await;
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
