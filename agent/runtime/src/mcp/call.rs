//! One tool of an MCP server: from a call to `tools/call` and from its result to text for the model.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use rmcp::{
    Peer, RoleClient,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, RequestParamsMeta,
        ResourceContents,
    },
    service::ServiceError,
};
use rockbot_telemetry::{KeyValue, Span, SpanKind, semconv, traceparent};
use serde_json::{Map, Value};

use super::{Link, Session};
use crate::{
    Metrics,
    metrics::McpRequest,
    tools::{ToolError, ToolErrorCode as Code, ToolExecutor, ToolInvokeRequest, ToolInvokeResponse},
};

const METHOD: &str = "tools/call";

/// Runs one tool of a server.
pub(super) struct McpTool {
    pub(super) link: Link,
    pub(super) metrics: Metrics,
    /// Where the server is.
    pub(super) host: String,
    /// Its name at the server.
    pub(super) tool: String,
    pub(super) deadline: Duration,
}

#[async_trait]
impl ToolExecutor for McpTool {
    async fn execute(
        &self,
        request: &ToolInvokeRequest,
        arguments: Map<String, Value>,
    ) -> Result<ToolInvokeResponse, ToolError> {
        let Some(session) = self.link.load_full() else {
            let message = "the MCP server of this tool is not connected at the moment; try again later";
            return Err(request.error(Code::ExecutionFailed, message).retryable());
        };
        match self.call(&session.peer, arguments).await {
            Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => {
                Ok(request.failure(text(&result)))
            }
            Ok(CallToolResponse::Complete(result)) => Ok(request.response(text(&result))),
            Ok(_) => {
                let message = "the tool asks for input or runs as a task; this agent supports neither";
                Err(request.error(Code::ExecutionFailed, message))
            }
            Err(error) => Err(tool_error(request, &session, error)),
        }
    }

    fn deadline(&self, _: &Map<String, Value>) -> Duration {
        self.deadline
    }
}

impl McpTool {
    /// Sends one `tools/call`, with the trace that it belongs to, and tells of it.
    async fn call(
        &self,
        peer: &Peer<RoleClient>,
        arguments: Map<String, Value>,
    ) -> Result<CallToolResponse, ServiceError> {
        let span = Span::start(SpanKind::Client, || {
            let attributes = vec![
                KeyValue::new(semconv::MCP_METHOD_NAME, METHOD),
                KeyValue::new(semconv::GEN_AI_OPERATION_NAME, "execute_tool"),
                KeyValue::new(semconv::GEN_AI_TOOL_NAME, self.tool.clone()),
                KeyValue::new(semconv::SERVER_ADDRESS, self.host.clone()),
            ];
            (format!("{METHOD} {}", self.tool), attributes)
        });
        let mut outcome = Outcome {
            tool: self,
            span: &span,
            started: Instant::now(),
            // Unless it learns better.
            error_type: "cancelled",
        };
        let answer = span.context().run(async {
            let mut params = CallToolRequestParams::new(self.tool.clone()).with_arguments(arguments);
            if let Some((parent, state)) = traceparent() {
                params.set_traceparent(&parent);
                if let Some(state) = state {
                    params.set_tracestate(&state);
                }
            }
            peer.call_tool_once(params).await
        });
        let answer = answer.await;
        outcome.error_type = match &answer {
            Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => "tool_error",
            Ok(_) => "",
            Err(error) => error_type(error),
        };
        answer
    }
}

/// The failure of a call of `session`, as the model reads it. A broken connection is the end of the session.
fn tool_error(request: &ToolInvokeRequest, session: &Session, error: ServiceError) -> ToolError {
    match error {
        ServiceError::McpError(error) if error.code == ErrorCode::INVALID_PARAMS => {
            request.error(Code::InvalidArguments, error.message)
        }
        ServiceError::McpError(error) => request.error(Code::ExecutionFailed, error.message),
        ServiceError::Timeout { .. } => request.error(Code::Timeout, error.to_string()),
        ServiceError::TransportSend(_) | ServiceError::TransportClosed => {
            session.broken.cancel();
            tracing::warn!("the connection to the MCP server broke: {error}");
            let message = "the connection to the MCP server of this tool broke; try again later";
            request.error(Code::ExecutionFailed, message).retryable()
        }
        other => request.error(Code::ExecutionFailed, other.to_string()),
    }
}

/// How a call ends. Dropping it tells of that, also when nobody waits for the answer any more.
struct Outcome<'a> {
    tool: &'a McpTool,
    span: &'a Span,
    started: Instant,
    error_type: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        let request = McpRequest {
            method: METHOD,
            tool: &self.tool.tool,
            error_type: self.error_type,
        };
        self.tool
            .metrics
            .mcp_answered(&self.tool.host, request, self.started.elapsed());
        if !self.error_type.is_empty() {
            self.span.fail(self.error_type);
        }
    }
}

/// What kind of error it is when a server gives no result.
pub(super) fn error_type(error: &ServiceError) -> &'static str {
    match error {
        ServiceError::McpError(_) => "mcp_error",
        ServiceError::Timeout { .. } => "timeout",
        ServiceError::TransportSend(_) | ServiceError::TransportClosed => "transport",
        _ => "other",
    }
}

/// The text of a result. What is no text is named, so that the model knows that there was something.
fn text(result: &CallToolResult) -> String {
    let blocks: Vec<_> = result.content.iter().map(block).collect();
    match &result.structured_content {
        Some(structured) if blocks.is_empty() => structured.to_string(),
        _ => blocks.join("\n"),
    }
}

fn block(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => format!("[an image of type {}, which is not shown]", image.mime_type),
        ContentBlock::Audio(audio) => format!("[audio of type {}, which is not played]", audio.mime_type),
        ContentBlock::ResourceLink(link) => format!("[resource {}: {}]", link.name, link.uri),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text.clone(),
            ResourceContents::BlobResourceContents { uri, .. } => {
                format!("[binary resource {uri}, which is not shown]")
            }
            _ => "[a resource of a kind that is not known]".to_owned(),
        },
        _ => "[content of a kind that is not known]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn t5_results_become_text() {
        let cases = [
            (
                json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }),
                "a\nb",
            ),
            (json!({ "content": [], "structuredContent": { "x": 1 } }), r#"{"x":1}"#),
            (
                json!({ "content": [{ "type": "text", "text": "a" }], "structuredContent": { "x": 1 } }),
                "a",
            ),
            (
                json!({ "content": [{ "type": "image", "data": "aGk=", "mimeType": "image/png" }] }),
                "[an image of type image/png, which is not shown]",
            ),
            (
                json!({ "content": [{ "type": "resource", "resource": { "uri": "x://y", "text": "inside" } }] }),
                "inside",
            ),
        ];
        for (result, expected) in cases {
            let result = serde_json::from_value(result).unwrap();
            assert_eq!(text(&result), expected);
        }
    }
}
