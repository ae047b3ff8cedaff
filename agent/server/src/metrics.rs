//! Series about requests. Every label has a bounded set of values: clients cannot add one.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use rockbot_llm::Usage;

/// Upper bounds in seconds: from an error at once to the longest request.
const SECONDS: [f64; 12] = [0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0, 300.0];

/// Series of one server.
#[derive(Clone, Debug)]
pub(crate) struct ServerMetrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<AgentLabel, Histogram, fn() -> Histogram>,
    tokens: Family<TokenLabels, Counter>,
    active: Family<AgentLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    agent: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentLabel {
    agent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    agent: String,
    kind: &'static str,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            tokens: Family::default(),
            active: Family::default(),
        }
    }
}

impl ServerMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "rockbot_requests",
            "Chat completion requests by how they ended",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "rockbot_request_duration",
            "Time until the last byte of an answer",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register("rockbot_tokens", "Tokens that models have counted", self.tokens.clone());
        registry.register(
            "rockbot_active_requests",
            "Chat completion requests that run",
            self.active.clone(),
        );
    }

    /// A request that never reached an agent; no agent's name is in its label.
    pub(crate) fn refused(&self) {
        self.requests
            .get_or_create(&RequestLabels {
                agent: String::new(),
                status: "client_error",
            })
            .inc();
    }

    pub(crate) fn begin(&self, agent: &str) {
        self.active
            .get_or_create(&AgentLabel {
                agent: agent.to_owned(),
            })
            .inc();
    }

    pub(crate) fn end(&self, agent: &str, status: &'static str, took: Duration, usage: Option<&Usage>) {
        let label = AgentLabel {
            agent: agent.to_owned(),
        };
        self.active.get_or_create(&label).dec();
        self.duration.get_or_create(&label).observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels {
                agent: agent.to_owned(),
                status,
            })
            .inc();
        let Usage {
            prompt_tokens,
            completion_tokens,
            ..
        } = usage.cloned().unwrap_or_default();
        for (kind, tokens) in [("prompt", prompt_tokens), ("completion", completion_tokens)] {
            self.tokens
                .get_or_create(&TokenLabels {
                    agent: agent.to_owned(),
                    kind,
                })
                .inc_by(tokens);
        }
    }
}
