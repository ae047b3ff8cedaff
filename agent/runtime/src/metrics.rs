//! Series about the work inside an agent. The server registers them beside its own.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds in milliseconds: from a local call to the longest script.
const MILLISECONDS: [f64; 14] = [
    1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 10e3, 30e3, 300e3,
];

/// Series of every agent of a process. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    duration: Family<ToolLabels, Histogram, fn() -> Histogram>,
    invocations: Family<ToolLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool_name: String,
    status: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            duration: Family::new_with_constructor(|| Histogram::new(MILLISECONDS)),
            invocations: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes the series visible in `registry`. The documents call them `rockbot.tool.invoke.duration` and
    /// `rockbot.tool.invocations`; the dots become underscores, as Prometheus wants it.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "rockbot_tool_invoke_duration",
            "Time that calls of tools took",
            Unit::Other("milliseconds".to_owned()),
            self.duration.clone(),
        );
        registry.register("rockbot_tool_invocations", "Calls of tools", self.invocations.clone());
    }

    pub(crate) fn tool_invoked(&self, tool_name: &str, status: &'static str, took: Duration) {
        let labels = ToolLabels {
            tool_name: tool_name.to_owned(),
            status,
        };
        self.duration.get_or_create(&labels).observe(took.as_secs_f64() * 1e3);
        self.invocations.get_or_create(&labels).inc();
    }
}
