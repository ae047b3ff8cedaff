//! Series about requests. Every label has a bounded set of values: clients cannot add one.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use rockbot_agent::Standing;
use rockbot_llm::Usage;
use rockbot_telemetry::semconv;

/// Upper bounds in seconds: from an error at once to the longest request.
const SECONDS: [f64; 12] = [0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0, 300.0];

/// Agents that have series of their own. One that is found on demand has been forgotten long before its series are.
const MOST_AGENTS: usize = 512;
/// Where all others count. No agent is called so.
const OTHERS: &str = "_others";

/// Status of a request that has its answer.
pub(crate) const OK: &str = "ok";
/// What a request to an agent is, in OpenTelemetry's words.
pub(crate) const INVOKE_AGENT: &str = "invoke_agent";

/// Series of one server.
#[derive(Clone, Debug)]
pub(crate) struct ServerMetrics {
    agents: Agents,
    requests: Family<RequestLabels, Counter>,
    duration: Family<AgentLabel, Histogram, fn() -> Histogram>,
    tokens: Family<TokenLabels, Counter>,
    active: Family<AgentLabel, Gauge>,
    daily_tokens_used: Family<AgentLabel, Gauge>,
    daily_tokens_limit: Family<AgentLabel, Gauge>,
    invocations: Family<InvocationLabels, Histogram, fn() -> Histogram>,
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

/// As OpenTelemetry names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InvocationLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_agent_name: String,
    /// Empty when it ended well.
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    agent: String,
    kind: &'static str,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self {
            agents: Agents::default(),
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            tokens: Family::default(),
            active: Family::default(),
            daily_tokens_used: Family::default(),
            daily_tokens_limit: Family::default(),
            invocations: Family::new_with_constructor(|| Histogram::new(semconv::GEN_AI_SECONDS)),
        }
    }
}

impl ServerMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "rockbot_requests",
            "Requests to agents by how they ended",
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
            "Requests to agents that run",
            self.active.clone(),
        );
        registry.register(
            "rockbot_daily_tokens_used",
            "Tokens of the agent's day that are used",
            self.daily_tokens_used.clone(),
        );
        registry.register(
            "rockbot_daily_tokens_limit",
            "Tokens that an agent has for a day",
            self.daily_tokens_limit.clone(),
        );
        registry.register_with_unit(
            semconv::prometheus(semconv::GEN_AI_INVOKE_AGENT_DURATION),
            "Time that requests to agents took",
            Unit::Seconds,
            self.invocations.clone(),
        );
    }

    /// A request to `agent` has ended.
    fn invoked(&self, agent: String, status: &'static str, took: Duration) {
        let labels = InvocationLabels {
            gen_ai_operation_name: INVOKE_AGENT,
            gen_ai_agent_name: agent,
            error_type: if status == OK { "" } else { status },
        };
        self.invocations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// How an agent's day stands.
    pub(crate) fn daily_tokens(&self, agent: &str, standing: &Standing) {
        let label = AgentLabel {
            agent: self.agents.label(agent),
        };
        let gauge = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        self.daily_tokens_used.get_or_create(&label).set(gauge(standing.used));
        self.daily_tokens_limit.get_or_create(&label).set(gauge(standing.limit));
    }

    /// A request that never reached an agent; no agent's name is in its label.
    pub(crate) fn refused(&self, status: StatusCode) {
        self.requests
            .get_or_create(&RequestLabels {
                agent: String::new(),
                status: whose_error(status),
            })
            .inc();
    }

    pub(crate) fn begin(&self, agent: &str) {
        self.active
            .get_or_create(&AgentLabel {
                agent: self.agents.label(agent),
            })
            .inc();
    }

    pub(crate) fn end(&self, agent: &str, status: &'static str, took: Duration, usage: Option<&Usage>) {
        let agent = self.agents.label(agent);
        let label = AgentLabel { agent: agent.clone() };
        self.invoked(agent.clone(), status, took);
        self.active.get_or_create(&label).dec();
        self.duration.get_or_create(&label).observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels {
                agent: agent.clone(),
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
                    agent: agent.clone(),
                    kind,
                })
                .inc_by(tokens);
        }
    }
}

/// The agents that have series of their own: those that were asked first.
#[derive(Clone, Debug, Default)]
struct Agents(Arc<Mutex<HashSet<String>>>);

impl Agents {
    fn label(&self, agent: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(agent) {
            if known.len() >= MOST_AGENTS {
                return OTHERS.to_owned();
            }
            known.insert(agent.to_owned());
        }
        agent.to_owned()
    }
}

/// Who is at fault when an answer is an error.
pub(crate) fn whose_error(status: StatusCode) -> &'static str {
    if status.is_client_error() {
        "client_error"
    } else {
        "server_error"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_beyond_a_bound_count_together() {
        let (metrics, mut registry) = (ServerMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        for number in 0..MOST_AGENTS + 10 {
            let agent = format!("agent-{number}");
            metrics.begin(&agent);
            metrics.end(&agent, OK, Duration::ZERO, None);
        }
        metrics.begin("agent-0");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let active =
            |agent: &str, count: usize| text.contains(&format!("active_requests{{agent=\"{agent}\"}} {count}\n"));
        assert!(active("agent-0", 1) && active(OTHERS, 0), "{text}");
        assert!(!text.contains(&format!("\"agent-{MOST_AGENTS}\"")));
        assert!(text.contains(&format!(
            "rockbot_requests_total{{agent=\"{OTHERS}\",status=\"ok\"}} 10\n"
        )));
    }
}
