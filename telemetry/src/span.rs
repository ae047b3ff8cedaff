//! Spans of traces.
//!
//! They are not those of `tracing`: a span of the log says what a reader of the log needs, one of a trace has the names
//! and attributes that OpenTelemetry prescribes, and costs nothing while no traces are sent.

use std::{borrow::Cow, ops::Deref, sync::OnceLock};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanBuilder, SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use reqwest::header::HeaderMap;

use crate::TraceContext;

/// Set once, when the process begins to send traces.
static TRACING: OnceLock<Tracing> = OnceLock::new();

pub(crate) struct Tracing {
    pub(crate) tracer: SdkTracer,
    pub(crate) captures_content: bool,
}

/// Starts the sending of spans. Only the first call counts.
pub(crate) fn start(tracing: Tracing) {
    let _ = TRACING.set(tracing);
}

/// Whether spans shall carry what is said to models and tools and what they answer.
pub fn captures_content() -> bool {
    TRACING.get().is_some_and(|tracing| tracing.captures_content)
}

/// A span, until it is dropped. While no traces are sent it is the place that it would be in.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    is_own: bool,
}

impl Span {
    /// Starts a span where the caller is. `describe` gives name and attributes, and is called only when they are needed.
    pub fn start<N: Into<Cow<'static, str>>>(kind: SpanKind, describe: impl FnOnce() -> (N, Vec<KeyValue>)) -> Self {
        Self::start_in(TraceContext::current(), kind, describe)
    }

    /// Starts the span of a request with these headers, in the trace of its sender.
    pub fn of_request<N: Into<Cow<'static, str>>>(
        headers: &HeaderMap,
        describe: impl FnOnce() -> (N, Vec<KeyValue>),
    ) -> Self {
        Self::start_in(TraceContext::of(headers), SpanKind::Server, describe)
    }

    fn start_in<N: Into<Cow<'static, str>>>(
        parent: TraceContext,
        kind: SpanKind,
        describe: impl FnOnce() -> (N, Vec<KeyValue>),
    ) -> Self {
        let Some(Tracing { tracer, .. }) = TRACING.get() else {
            return Self {
                context: parent,
                is_own: false,
            };
        };
        let (name, attributes) = describe();
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &parent.0);
        let context: Context = parent.0.with_span(span);
        Self {
            context: TraceContext(context),
            is_own: true,
        }
    }

    /// The place that it makes, which may outlive it.
    pub fn context(&self) -> TraceContext {
        self.context.clone()
    }
}

impl Deref for Span {
    type Target = TraceContext;

    fn deref(&self) -> &TraceContext {
        &self.context
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.is_own {
            self.context.0.span().end();
        }
    }
}
