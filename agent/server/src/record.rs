//! The record of one request: counted and logged exactly once, when its last byte is written or its client is gone.

use std::time::Instant;

use axum::http::StatusCode;
use rockbot_agent::{Agent, Place};
use rockbot_llm::Usage;
use rockbot_telemetry::{KeyValue, TraceContext, semconv};
use tracing::{Span, info};

use crate::{
    body::Taken,
    error::ApiError,
    metrics::{OK, ServerMetrics, whose_error},
};

/// A request that runs. Dropping it closes the record.
pub(crate) struct Record {
    metrics: ServerMetrics,
    agent: String,
    started: Instant,
    usage: Option<Usage>,
    status: &'static str,
    /// What went wrong, for the log.
    reason: Option<String>,
    /// Taken until the record is closed.
    _place: Place,
    room: Taken,
    /// The last line of a stream is written outside of the request's handler, yet belongs to it.
    span: Span,
    /// Its span in the trace that it belongs to.
    trace: rockbot_telemetry::Span,
}

impl Record {
    /// Opens the record of a request to `agent`, whose span `trace` is. Unless it learns better, the client has gone away.
    ///
    /// # Errors
    /// When the agent answers as many requests as it may.
    pub(crate) fn open(
        metrics: &ServerMetrics,
        agent: &Agent,
        trace: rockbot_telemetry::Span,
        room: Taken,
    ) -> Result<Self, ApiError> {
        let place = agent.place().ok_or_else(|| {
            trace.fail("client_error");
            busy()
        })?;
        let agent = &agent.config().name;
        metrics.begin(agent);
        Ok(Self {
            metrics: metrics.clone(),
            agent: agent.to_owned(),
            started: Instant::now(),
            usage: None,
            status: "disconnected",
            reason: None,
            _place: place,
            room,
            span: Span::current(),
            trace,
        })
    }

    /// The memory that the request takes.
    pub(crate) fn room(&mut self) -> &mut Taken {
        &mut self.room
    }

    /// The place of the request in its trace.
    pub(crate) fn trace_context(&self) -> TraceContext {
        self.trace.context()
    }

    /// Adds to the record what the request has cost so far: the latest report counts.
    pub(crate) fn count(&mut self, usage: &Usage) {
        self.usage = Some(usage.clone());
    }

    /// What the request has cost so far; `None` when the provider does not say.
    pub(crate) fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// The answer is complete.
    pub(crate) fn succeed(&mut self) {
        self.status = OK;
    }

    /// The answer is an error, or ends with one. What a client has done wrong is told without its words.
    pub(crate) fn fail(&mut self, error: &ApiError) {
        self.status = whose_error(error.status);
        self.reason = Some(match error.status.is_server_error() {
            true => format!("{}: {}", error.code, error.message),
            false => error.code.to_owned(),
        });
    }
}

fn busy() -> ApiError {
    ApiError {
        retry_after_seconds: Some(1),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "this agent answers as many requests as it may (limits.maxConcurrentRequests); try again later",
        )
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.end(&self.agent, self.status, took, self.usage.as_ref());
        self.trace.record(|| attributes(self.usage.as_ref()));
        if self.status != OK {
            self.trace.fail(self.status);
        }
        let _entered = self.span.enter();
        let tokens = self.usage.as_ref().map(|usage| usage.total_tokens);
        info!(
            status = self.status,
            reason = self.reason,
            tokens,
            milliseconds = took.as_millis() as u64,
            "request ended"
        );
    }
}

fn attributes(usage: Option<&Usage>) -> Vec<KeyValue> {
    let Some(usage) = usage else { return Vec::new() };
    [
        (semconv::GEN_AI_USAGE_INPUT_TOKENS, usage.prompt_tokens),
        (semconv::GEN_AI_USAGE_OUTPUT_TOKENS, usage.completion_tokens),
    ]
    .map(|(name, tokens)| KeyValue::new(name, i64::try_from(tokens).unwrap_or(i64::MAX)))
    .into()
}
