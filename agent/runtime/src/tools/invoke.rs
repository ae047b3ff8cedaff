//! The one function through which every call of a tool goes, whoever asks for it.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt;
use rockbot_telemetry::{KeyValue, Span, SpanKind, captures_content, semconv};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tracing::{Instrument, info_span};

use super::{Tool, ToolError, ToolErrorCode, ToolInvokeRequest, ToolInvokeResponse, ToolSet};
use crate::{
    Metrics, metrics,
    skills::{HandoffResult, HandoffType},
};

/// Label of calls whose tool does not exist: a model may invent any number of names.
const UNKNOWN: &str = "unknown";

/// Runs calls of tools.
#[derive(Clone)]
pub struct Invoker {
    metrics: Metrics,
}

impl Invoker {
    /// An invoker that counts in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    /// Runs one call: finds the tool, checks the caller's scope and the arguments, keeps the deadline, survives a panic,
    /// records a span and metrics.
    ///
    /// # Errors
    /// [`ToolError`] with one of the four codes.
    pub async fn invoke(&self, tools: &ToolSet, request: &ToolInvokeRequest) -> Result<ToolInvokeResponse, ToolError> {
        let trace = trace(request);
        let span = info_span!("execute_tool", tool = request.tool_name, call = request.tool_call_id);
        let started = Instant::now();
        let result = async {
            let result = attempt(tools, request).await;
            match &result {
                Ok(response) => tracing::info!(is_error = response.is_error, "the tool answered"),
                Err(error) => tracing::warn!(code = error.code.as_str(), "the tool gave no answer: {error}"),
            }
            result
        };
        let result = trace.context().run(result.instrument(span)).await;
        let name = if tools.contains_key(&request.tool_name) {
            &request.tool_name
        } else {
            UNKNOWN
        };
        let status = status(&result);
        self.metrics.tool_invoked(name, status, started.elapsed());
        if captures_content() {
            trace.record(|| {
                let result = match &result {
                    Ok(response) => response.content.clone(),
                    Err(error) => error.to_content(),
                };
                vec![KeyValue::new(semconv::GEN_AI_TOOL_CALL_RESULT, result)]
            });
        }
        if status != "ok" {
            trace.fail(metrics::error_type(status));
        }
        result
    }
}

/// The span of a call, which ends with it.
fn trace(request: &ToolInvokeRequest) -> Span {
    Span::start(SpanKind::Internal, || {
        let mut attributes = vec![
            KeyValue::new(semconv::GEN_AI_OPERATION_NAME, "execute_tool"),
            KeyValue::new(semconv::GEN_AI_TOOL_NAME, request.tool_name.clone()),
            KeyValue::new(semconv::GEN_AI_TOOL_CALL_ID, request.tool_call_id.clone()),
        ];
        if captures_content() {
            attributes.push(KeyValue::new(
                semconv::GEN_AI_TOOL_CALL_ARGUMENTS,
                request.arguments.clone(),
            ));
        }
        (format!("execute_tool {}", request.tool_name), attributes)
    })
}

async fn attempt(tools: &ToolSet, request: &ToolInvokeRequest) -> Result<ToolInvokeResponse, ToolError> {
    // To those who may not use a tool there is none.
    let admitted = |tool: &&Arc<Tool>| tool.admits(&request.context.scope);
    let tool = tools
        .get(&request.tool_name)
        .filter(admitted)
        .ok_or_else(|| not_found(tools, request))?;
    let arguments = Value::Object(parse(request)?);
    if let Some(complaint) = tool.complaint(&arguments) {
        return Err(request.error(ToolErrorCode::InvalidArguments, complaint));
    }
    let Value::Object(arguments) = arguments else {
        return Err(no_object(request));
    };
    let deadline = tool.executor.deadline(&arguments);
    let execution = AssertUnwindSafe(tool.executor.execute(request, arguments)).catch_unwind();
    let result = match timeout(deadline, execution).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            tracing::error!("the tool {}", panic_message(&*panic));
            let message = format!("{} broke; the agent's log has the details", request.tool_name);
            Err(request.error(ToolErrorCode::ExecutionFailed, message))
        }
        Err(_) => {
            let message = format!("{} gave no answer within {} s", request.tool_name, deadline.as_secs());
            Err(request.error(ToolErrorCode::Timeout, message))
        }
    };
    match tool.executor.handoff() {
        Some(to) => handed_off(request, to, result),
        None => result,
    }
}

/// A handoff that fails is an answer too; arguments that are wrong are an error, as with every tool.
fn handed_off(
    request: &ToolInvokeRequest,
    to: HandoffType,
    result: Result<ToolInvokeResponse, ToolError>,
) -> Result<ToolInvokeResponse, ToolError> {
    let mut handoff = match result {
        Ok(response) => response
            .handoff
            .unwrap_or_else(|| HandoffResult::done(response.content)),
        Err(error) if error.code == ToolErrorCode::InvalidArguments => return Err(error),
        Err(error) => HandoffResult::failed(error.message),
    };
    handoff.handoff_type = to;
    Ok(request.handoff(handoff))
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without words"))
}

/// Models write nothing at all, rather than `{}`, for a tool without arguments.
fn parse(request: &ToolInvokeRequest) -> Result<Map<String, Value>, ToolError> {
    if request.arguments.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(&request.arguments) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err(no_object(request)),
        Err(error) => Err(request.error(
            ToolErrorCode::InvalidArguments,
            format!("the arguments are no JSON: {error}"),
        )),
    }
}

fn no_object(request: &ToolInvokeRequest) -> ToolError {
    request.error(ToolErrorCode::InvalidArguments, "the arguments must be a JSON object")
}

fn not_found(tools: &ToolSet, request: &ToolInvokeRequest) -> ToolError {
    let names: Vec<_> = tools
        .iter()
        .filter(|(_, tool)| tool.admits(&request.context.scope))
        .map(|(name, _)| name.as_str())
        .collect();
    let message = format!(
        "there is no tool {:?}; there are: {}",
        request.tool_name,
        names.join(", ")
    );
    request.error(ToolErrorCode::ToolNotFound, message)
}

fn status(result: &Result<ToolInvokeResponse, ToolError>) -> &'static str {
    match result {
        Ok(response) if response.is_error => "error",
        Ok(_) => "ok",
        Err(error) => error.code.as_str(),
    }
}
