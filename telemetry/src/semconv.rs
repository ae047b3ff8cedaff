//! Names of OpenTelemetry's semantic conventions, as far as they are used here, and RockBot's own beside them.
//!
//! The conventions for generative AI and MCP have no stable release; these are those of
//! <https://github.com/open-telemetry/semantic-conventions-genai> at 004902b8cb70, those for HTTP, servers and errors
//! those of semantic conventions 1.42.

/// What an operation is: `chat`, `invoke_agent`, `execute_tool`.
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// Whose telemetry this is, in the conventions' words.
pub const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
/// Name of the model that is asked.
pub const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Whether the model is asked for a stream.
pub const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
/// Why the answer ended.
pub const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Seconds until the first piece of the answer.
pub const GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// Tokens that were read.
pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens that were written.
pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Which tokens are counted: `input` or `output`.
pub const GEN_AI_TOKEN_TYPE: &str = "gen_ai.token.type";
/// Name of an agent.
pub const GEN_AI_AGENT_NAME: &str = "gen_ai.agent.name";
/// What an agent is for.
pub const GEN_AI_AGENT_DESCRIPTION: &str = "gen_ai.agent.description";
/// Name of a tool.
pub const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// Identity of a call.
pub const GEN_AI_TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
/// Arguments of a call; only on request.
pub const GEN_AI_TOOL_CALL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
/// Result of a call; only on request.
pub const GEN_AI_TOOL_CALL_RESULT: &str = "gen_ai.tool.call.result";
/// What a model was told; only on request.
pub const GEN_AI_INPUT_MESSAGES: &str = "gen_ai.input.messages";
/// What it said; only on request.
pub const GEN_AI_OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
/// Method of an MCP request.
pub const MCP_METHOD_NAME: &str = "mcp.method.name";
/// Class of error that an operation ended with.
pub const ERROR_TYPE: &str = "error.type";
/// Host of the server.
pub const SERVER_ADDRESS: &str = "server.address";
/// Port of the server.
pub const SERVER_PORT: &str = "server.port";
/// Method of an HTTP request.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// Route that a request matched.
pub const HTTP_ROUTE: &str = "http.route";
/// Status of a response.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";

/// Seconds of one call of a model.
pub const GEN_AI_CLIENT_OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
/// Tokens of one call of a model.
pub const GEN_AI_CLIENT_TOKEN_USAGE: &str = "gen_ai.client.token.usage";
/// Seconds from a call of a model to its first word.
pub const GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK: &str = "gen_ai.client.operation.time_to_first_chunk";
/// Seconds of one request to an agent.
pub const GEN_AI_INVOKE_AGENT_DURATION: &str = "gen_ai.invoke_agent.duration";
/// Seconds of one call of a tool.
pub const GEN_AI_EXECUTE_TOOL_DURATION: &str = "gen_ai.execute_tool.duration";
/// Seconds of one request to an MCP server.
pub const MCP_CLIENT_OPERATION_DURATION: &str = "mcp.client.operation.duration";
/// Milliseconds of one call of a tool.
pub const ROCKBOT_TOOL_INVOKE_DURATION: &str = "rockbot.tool.invoke.duration";
/// Calls of tools.
pub const ROCKBOT_TOOL_INVOCATIONS: &str = "rockbot.tool.invocations";

/// Agent that a script ran for, as `namespace/name`.
pub const ROCKBOT_SCRIPT_AGENT: &str = "rockbot.script.agent";
/// Whether no pod was parked for a script.
pub const ROCKBOT_SCRIPT_COLD: &str = "rockbot.script.cold";
/// Exit code of a script.
pub const ROCKBOT_SCRIPT_EXIT_CODE: &str = "rockbot.script.exit_code";
/// How a script ended.
pub const ROCKBOT_SCRIPT_OUTCOME: &str = "rockbot.script.outcome";
/// Pod that a script ran in.
pub const ROCKBOT_SCRIPT_POD: &str = "rockbot.script.pod";
/// Milliseconds that a script waited for a pod.
pub const ROCKBOT_SCRIPT_QUEUE_MS: &str = "rockbot.script.queue_ms";
/// Milliseconds that a script took in its pod.
pub const ROCKBOT_SCRIPT_RUN_MS: &str = "rockbot.script.run_ms";

/// Upper bounds, in seconds, of the durations of `gen_ai`.
pub const GEN_AI_SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Upper bounds of [`GEN_AI_CLIENT_TOKEN_USAGE`].
pub const GEN_AI_TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Upper bounds, in seconds, of the durations of `mcp`.
pub const MCP_SECONDS: [f64; 14] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// What a name in the metrics stands for, which Prometheus has spelled with underscores.
pub(crate) fn dotted(name: &str) -> &str {
    const DOTTED: [&str; 17] = [
        GEN_AI_CLIENT_OPERATION_DURATION,
        GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK,
        GEN_AI_CLIENT_TOKEN_USAGE,
        GEN_AI_EXECUTE_TOOL_DURATION,
        GEN_AI_INVOKE_AGENT_DURATION,
        MCP_CLIENT_OPERATION_DURATION,
        ROCKBOT_TOOL_INVOCATIONS,
        ROCKBOT_TOOL_INVOKE_DURATION,
        ERROR_TYPE,
        GEN_AI_AGENT_NAME,
        GEN_AI_OPERATION_NAME,
        GEN_AI_PROVIDER_NAME,
        GEN_AI_REQUEST_MODEL,
        GEN_AI_TOKEN_TYPE,
        GEN_AI_TOOL_NAME,
        MCP_METHOD_NAME,
        SERVER_ADDRESS,
    ];
    let spelled = |dotted: &&str| underscored(dotted).eq(name.bytes());
    DOTTED.into_iter().find(spelled).unwrap_or(name)
}

fn underscored(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.bytes().map(|byte| if byte == b'.' { b'_' } else { byte })
}

/// The name of a metric as Prometheus has it, without its unit.
pub fn prometheus(name: &str) -> String {
    underscored(name).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_dots_back() {
        assert_eq!(
            dotted("gen_ai_client_operation_time_to_first_chunk"),
            GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK
        );
        assert_eq!(dotted(&prometheus(GEN_AI_REQUEST_MODEL)), GEN_AI_REQUEST_MODEL);
        assert_eq!(dotted("rockbot_requests"), "rockbot_requests");
    }
}
