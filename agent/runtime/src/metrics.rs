//! Series about the work inside an agent. The server registers them beside its own.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use rockbot_telemetry::semconv;

/// Upper bounds in milliseconds: from a local call to the longest script.
const MILLISECONDS: [f64; 14] = [
    1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 10e3, 30e3, 300e3,
];

/// Series of every agent of a process. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Series about calls of models.
    pub models: rockbot_llm::Metrics,
    duration: Family<ToolLabels, Histogram, fn() -> Histogram>,
    invocations: Family<ToolLabels, Counter>,
    executions: Family<ExecutionLabels, Histogram, fn() -> Histogram>,
    mcp: Family<McpLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool_name: String,
    status: &'static str,
}

/// As OpenTelemetry names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExecutionLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_tool_name: String,
    /// Empty when it ended well.
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct McpLabels {
    mcp_method_name: &'static str,
    /// Empty when the request is about no tool.
    gen_ai_tool_name: String,
    server_address: String,
    /// Empty when it ended well.
    error_type: &'static str,
}

/// A request to an MCP server that has ended.
pub(crate) struct McpRequest<'a> {
    pub(crate) method: &'static str,
    /// Empty when it is about no tool.
    pub(crate) tool: &'a str,
    /// Empty when it ended well.
    pub(crate) error_type: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            models: rockbot_llm::Metrics::default(),
            duration: Family::new_with_constructor(|| Histogram::new(MILLISECONDS)),
            invocations: Family::default(),
            executions: Family::new_with_constructor(|| Histogram::new(semconv::GEN_AI_SECONDS)),
            mcp: Family::new_with_constructor(|| Histogram::new(semconv::MCP_SECONDS)),
        }
    }
}

impl Metrics {
    /// Makes the series visible in `registry`. The dots of their names become underscores, as Prometheus wants it.
    pub fn register(&self, registry: &mut Registry) {
        self.models.register(registry);
        registry.register_with_unit(
            semconv::prometheus(semconv::ROCKBOT_TOOL_INVOKE_DURATION),
            "Time that calls of tools took",
            Unit::Other("milliseconds".to_owned()),
            self.duration.clone(),
        );
        registry.register(
            semconv::prometheus(semconv::ROCKBOT_TOOL_INVOCATIONS),
            "Calls of tools",
            self.invocations.clone(),
        );
        registry.register_with_unit(
            semconv::prometheus(semconv::GEN_AI_EXECUTE_TOOL_DURATION),
            "Time that calls of tools took",
            Unit::Seconds,
            self.executions.clone(),
        );
        registry.register_with_unit(
            semconv::prometheus(semconv::MCP_CLIENT_OPERATION_DURATION),
            "Time that requests to MCP servers took",
            Unit::Seconds,
            self.mcp.clone(),
        );
    }

    /// A request to the MCP server at `host` has ended.
    pub(crate) fn mcp_answered(&self, host: &str, request: McpRequest<'_>, took: Duration) {
        let McpRequest {
            method,
            tool,
            error_type,
        } = request;
        let labels = McpLabels {
            mcp_method_name: method,
            gen_ai_tool_name: tool.to_owned(),
            server_address: host.to_owned(),
            error_type,
        };
        self.mcp.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn tool_invoked(&self, tool_name: &str, status: &'static str, took: Duration) {
        let execution = ExecutionLabels {
            gen_ai_operation_name: "execute_tool",
            gen_ai_tool_name: tool_name.to_owned(),
            error_type: error_type(status),
        };
        self.executions.get_or_create(&execution).observe(took.as_secs_f64());
        let labels = ToolLabels {
            tool_name: tool_name.to_owned(),
            status,
        };
        self.duration.get_or_create(&labels).observe(took.as_secs_f64() * 1e3);
        self.invocations.get_or_create(&labels).inc();
    }
}

/// What `error.type` is for a call that ended with `status`.
pub(crate) fn error_type(status: &'static str) -> &'static str {
    match status {
        "ok" => "",
        "error" => "tool_error",
        code => code,
    }
}
