//! The record of one request: counted and logged exactly once, when its last byte is written or its client is gone.

use std::time::Instant;

use axum::http::StatusCode;
use rockbot_llm::Usage;
use tracing::{Span, info};

use crate::metrics::ServerMetrics;

/// A request that runs. Dropping it closes the record.
pub(crate) struct Record {
    metrics: ServerMetrics,
    agent: String,
    started: Instant,
    usage: Option<Usage>,
    status: &'static str,
    /// The last line of a stream is written outside of the request's handler, yet belongs to it.
    span: Span,
}

impl Record {
    /// Opens the record of a request to `agent`. Unless it learns better, the client has gone away.
    pub(crate) fn open(metrics: &ServerMetrics, agent: &str) -> Self {
        metrics.begin(agent);
        Self {
            metrics: metrics.clone(),
            agent: agent.to_owned(),
            started: Instant::now(),
            usage: None,
            status: "disconnected",
            span: Span::current(),
        }
    }

    /// Adds what one round has cost. A round that is broken off is not known to cost anything.
    pub(crate) fn add(&mut self, usage: &Usage) {
        self.usage.get_or_insert_default().add(usage);
    }

    /// What the request has cost so far; `None` when the provider does not say.
    pub(crate) fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// The answer is complete.
    pub(crate) fn succeed(&mut self) {
        self.status = "ok";
    }

    /// The answer is an error.
    pub(crate) fn fail(&mut self, status: StatusCode) {
        self.status = if status.is_client_error() {
            "client_error"
        } else {
            "server_error"
        };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.end(&self.agent, self.status, took, self.usage.as_ref());
        let _entered = self.span.enter();
        let tokens = self.usage.as_ref().map(|usage| usage.total_tokens);
        info!(
            status = self.status,
            tokens,
            milliseconds = took.as_millis() as u64,
            "request ended"
        );
    }
}
