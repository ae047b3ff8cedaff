//! The trace that work belongs to, and how it gets from one process to the next: W3C `traceparent` and `tracestate`.
//!
//! A caller's trace is carried whether or not this process sends traces: without a span of its own it passes on what
//! it was given.

use futures::future::Either;
use opentelemetry::{
    Context, KeyValue, StringValue,
    context::FutureExt,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{Status, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::semconv;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// A place in a trace: what is done within it belongs to that trace.
#[derive(Clone, Debug, Default)]
pub struct TraceContext(pub(crate) Context);

impl TraceContext {
    /// Where the caller of this function is.
    pub fn current() -> Self {
        Self(Context::current())
    }

    /// Where the sender of a request with these headers is; nowhere when they name no valid trace.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers)))
    }

    /// Runs `future` here, wherever it is polled. Outside of every trace that costs nothing.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        if self.is_in_trace() {
            Either::Left(future.with_context(self.0.clone()))
        } else {
            Either::Right(future)
        }
    }

    /// Identity of the trace.
    pub fn trace_id(&self) -> Option<String> {
        self.is_in_trace()
            .then(|| self.0.span().span_context().trace_id().to_string())
    }

    /// Adds to what is told about the span here. `attributes` is called only when it is recorded.
    pub fn record(&self, attributes: impl FnOnce() -> Vec<KeyValue>) {
        let span = self.0.span();
        if span.is_recording() {
            span.set_attributes(attributes());
        }
    }

    /// The span here has failed, with an error of this kind.
    pub fn fail(&self, kind: impl Into<StringValue>) {
        let span = self.0.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, kind.into()));
            span.set_status(Status::error(""));
        }
    }

    fn is_in_trace(&self) -> bool {
        self.0.span().span_context().is_valid()
    }
}

/// Tells the receiver of a request in which trace it is sent. Headers of that name that are there are replaced.
pub fn inject(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject(&mut Outgoing(headers));
}

/// The same as values, for protocols without headers: `traceparent`, and `tracestate` where there is one.
pub fn traceparent() -> Option<(String, Option<String>)> {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Some((text(TRACEPARENT)?, text(TRACESTATE)))
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value), false) = (name, HeaderValue::try_from(&value), value.is_empty()) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    async fn passed_on(incoming: &[(&'static str, &str)]) -> HeaderMap {
        let pass_on = async {
            // Polled more than once, as everything that waits is.
            tokio::task::yield_now().await;
            let mut outgoing = HeaderMap::new();
            inject(&mut outgoing);
            outgoing
        };
        TraceContext::of(&headers(incoming)).run(pass_on).await
    }

    #[tokio::test]
    async fn a_trace_is_passed_on_by_a_process_that_sends_none() {
        let given = [(TRACEPARENT, PARENT), (TRACESTATE, "vendor=a")];
        assert_eq!(passed_on(&given).await, headers(&given));
        assert_eq!(
            passed_on(&[(TRACEPARENT, PARENT)]).await,
            headers(&[(TRACEPARENT, PARENT)]),
            "no state, no header"
        );
        let unsampled = [(TRACEPARENT, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")];
        assert_eq!(passed_on(&unsampled).await, headers(&unsampled));
    }

    #[tokio::test]
    async fn what_is_no_trace_is_not_passed_on() {
        for parent in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(passed_on(&[(TRACEPARENT, parent)]).await, HeaderMap::new(), "{parent}");
        }
        assert_eq!(traceparent(), None);
        assert_eq!(TraceContext::current().trace_id(), None);
    }

    #[test]
    fn the_identity_is_that_of_the_trace() {
        let context = TraceContext::of(&headers(&[(TRACEPARENT, PARENT)]));
        assert_eq!(context.trace_id().as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    }
}
