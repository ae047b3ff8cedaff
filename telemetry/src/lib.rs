//! What every process of RockBot tells about its work: its log, the trace that a request belongs to, and traces and
//! metrics by OTLP over HTTP.
//!
//! A process is silent about traces and metrics until the standard variables name a receiver; until then nothing is
//! started, kept or computed for them. The trace of a caller is passed on in any case.
//!
//! Nothing reaches a receiver but the attributes that [`Span`]s are given and what `/metrics` says: the log is not sent.
//! Knows nothing of agents or scripts beyond the names in [`semconv`].

mod args;
mod context;
mod export;
mod log;
mod metrics;
pub mod semconv;
mod send;
mod settings;
mod span;
mod stop;
mod traces;

pub use args::{LogArgs, LogFormat, OtlpArgs};
pub use context::{TraceContext, inject, traceparent};
pub use export::{FLUSH_DEADLINE, Telemetry};
pub use log::{AUDIT, LogTo, start_log};
pub use opentelemetry::{Array, KeyValue, StringValue, Value, trace::SpanKind};
pub use settings::InvalidSetting;
pub use span::{Span, captures_content};
pub use stop::stop_on_signal;
