//! The record of one request: counted and logged exactly once, when its last byte is written or its client is gone.

use std::time::Instant;

use axum::http::StatusCode;
use rockbot_agent::{Agent, Place};
use rockbot_llm::Usage;
use tracing::{Span, info};

use crate::{error::ApiError, metrics::ServerMetrics};

/// A request that runs. Dropping it closes the record.
pub(crate) struct Record {
    metrics: ServerMetrics,
    agent: String,
    started: Instant,
    usage: Option<Usage>,
    status: &'static str,
    /// Taken until the record is closed.
    _place: Place,
    /// The last line of a stream is written outside of the request's handler, yet belongs to it.
    span: Span,
}

impl Record {
    /// Opens the record of a request to `agent`. Unless it learns better, the client has gone away.
    ///
    /// # Errors
    /// When the agent answers as many requests as it may.
    pub(crate) fn open(metrics: &ServerMetrics, agent: &Agent) -> Result<Self, ApiError> {
        let place = agent.place().ok_or_else(busy)?;
        let agent = &agent.config().name;
        metrics.begin(agent);
        Ok(Self {
            metrics: metrics.clone(),
            agent: agent.to_owned(),
            started: Instant::now(),
            usage: None,
            status: "disconnected",
            _place: place,
            span: Span::current(),
        })
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
