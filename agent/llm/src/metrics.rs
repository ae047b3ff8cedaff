//! Series about calls of models, by the names and with the bounds of OpenTelemetry's conventions.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use rockbot_telemetry::semconv;

use crate::Usage;

/// Series of every model of a process. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    duration: Family<Ended, Histogram, fn() -> Histogram>,
    first_chunk: Family<Called, Histogram, fn() -> Histogram>,
    tokens: Family<Counted, Histogram, fn() -> Histogram>,
}

/// Which model is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Called {
    pub(crate) gen_ai_operation_name: &'static str,
    pub(crate) gen_ai_provider_name: &'static str,
    pub(crate) gen_ai_request_model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    #[prometheus(flatten)]
    called: Called,
    /// Empty when it ended well.
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    #[prometheus(flatten)]
    called: Called,
    gen_ai_token_type: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            duration: Family::new_with_constructor(|| Histogram::new(semconv::GEN_AI_SECONDS)),
            first_chunk: Family::new_with_constructor(|| Histogram::new(semconv::GEN_AI_SECONDS)),
            tokens: Family::new_with_constructor(|| Histogram::new(semconv::GEN_AI_TOKENS)),
        }
    }
}

impl Metrics {
    /// Makes the series visible in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            semconv::prometheus(semconv::GEN_AI_CLIENT_OPERATION_DURATION),
            "Time that calls of models took",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register_with_unit(
            semconv::prometheus(semconv::GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK),
            "Time from a call of a model to the first piece of its answer",
            Unit::Seconds,
            self.first_chunk.clone(),
        );
        registry.register(
            semconv::prometheus(semconv::GEN_AI_CLIENT_TOKEN_USAGE),
            "Tokens that calls of models read and wrote",
            self.tokens.clone(),
        );
    }

    pub(crate) fn answers(&self, called: &Called, after: Duration) {
        self.first_chunk.get_or_create(called).observe(after.as_secs_f64());
    }

    pub(crate) fn ended(&self, called: &Called, error_type: &'static str, took: Duration, usage: Option<&Usage>) {
        let ended = Ended {
            called: called.clone(),
            error_type,
        };
        self.duration.get_or_create(&ended).observe(took.as_secs_f64());
        let Some(usage) = usage else { return };
        for (gen_ai_token_type, tokens) in [("input", usage.prompt_tokens), ("output", usage.completion_tokens)] {
            let counted = Counted {
                called: called.clone(),
                gen_ai_token_type,
            };
            self.tokens.get_or_create(&counted).observe(tokens as f64);
        }
    }
}
