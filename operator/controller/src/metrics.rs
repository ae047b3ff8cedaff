//! Series about reconciling. Every label has a bounded set of values.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds in seconds: from a comparison that finds nothing to do to the deadline.
const SECONDS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Series of one operator.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciles: Family<Reconcile, Counter>,
    duration: Family<Kind, Histogram, fn() -> Histogram>,
    writes: Family<Write, Counter>,
    leader: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    verb: &'static str,
    resource: String,
}

impl Metrics {
    /// Series that `registry` shows.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            writes: Family::default(),
            leader: Gauge::default(),
        };
        let Self {
            reconciles,
            duration,
            writes,
            leader,
        } = metrics.clone();
        registry.register(
            "rockbot_operator_reconciles",
            "Reconciles by how they ended",
            reconciles,
        );
        registry.register_with_unit(
            "rockbot_operator_reconcile_duration",
            "Time that a reconcile took",
            Unit::Seconds,
            duration,
        );
        registry.register(
            "rockbot_operator_api_writes",
            "Requests that changed something in the cluster",
            writes,
        );
        registry.register("rockbot_operator_leader", "Whether this process reconciles", leader);
        metrics
    }

    pub(crate) fn reconciled(&self, kind: &str, result: &'static str, duration: Duration) {
        self.reconciles
            .get_or_create(&Reconcile {
                kind: kind.to_owned(),
                result,
            })
            .inc();
        self.duration
            .get_or_create(&Kind { kind: kind.to_owned() })
            .observe(duration.as_secs_f64());
    }

    pub(crate) fn wrote(&self, verb: &'static str, resource: &str) {
        self.writes
            .get_or_create(&Write {
                verb,
                resource: resource.to_owned(),
            })
            .inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(f64::from(u8::from(leads)));
    }
}
