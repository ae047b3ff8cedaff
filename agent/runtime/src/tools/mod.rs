//! Tools: what they are, where they are registered, and the one function through which each call goes.
//!
//! Knows nothing of the conversation: a call comes in with its arguments as text and goes out as a response or an error.

mod invoke;
mod registry;
pub mod scripts;

use std::time::Duration;

use async_trait::async_trait;
pub use invoke::Invoker;
pub(crate) use invoke::panic_message;
pub use registry::{RegisterError, Tool, ToolRegistry, ToolSet};
use rockbot_scripts_api::OutputFile;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    Context,
    scope::Scope,
    skills::{HandoffResult, HandoffType},
};

/// What a model learns about a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRegistration {
    /// Name by which the model calls it; unique among the tools of an agent.
    pub name: String,
    /// What it is for, in words for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters_schema: Value,
    /// Where it comes from, for example `scripts` or `mcp:weather`.
    pub source: String,
    /// For whose requests it is offered and runs.
    pub scope: Scope,
}

/// Something that runs a tool.
#[async_trait]
pub trait ToolExecutor: Send + Sync {
    /// Runs one call. `arguments` are those of `request`, parsed and valid by the tool's schema.
    ///
    /// Dropping the future ends the call.
    ///
    /// # Errors
    /// [`ToolError`] when the tool could not do its work; a tool that did its work and reports a failure answers with
    /// [`ToolInvokeRequest::failure`].
    async fn execute(
        &self,
        request: &ToolInvokeRequest,
        arguments: Map<String, Value>,
    ) -> Result<ToolInvokeResponse, ToolError>;

    /// How long a call with `arguments` may take.
    fn deadline(&self, arguments: &Map<String, Value>) -> Duration;

    /// To whom it hands the conversation off, when that is what it does.
    fn handoff(&self) -> Option<HandoffType> {
        None
    }
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct ToolInvokeRequest {
    /// Correlates the call with its response.
    pub tool_call_id: String,
    /// Name of the tool.
    pub tool_name: String,
    /// Arguments as JSON text, exactly as the model wrote it.
    pub arguments: String,
    /// The conversation on whose behalf the tool runs.
    pub session_id: String,
    /// The request on whose behalf it runs.
    pub context: Context,
}

/// What a tool answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolInvokeResponse {
    /// The call that it answers.
    pub tool_call_id: String,
    /// Name of the tool.
    pub tool_name: String,
    /// Text for the model.
    pub content: String,
    /// Whether the tool reports a failure.
    pub is_error: bool,
    /// What became of a handoff, when the tool is one; `content` says the same.
    pub handoff: Option<HandoffResult>,
    /// Files that the tool made for a person; `content` names them.
    pub files: Vec<OutputFile>,
}

/// Why a tool gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ToolError {
    /// The call that failed.
    pub tool_call_id: String,
    /// Name of the tool.
    pub tool_name: String,
    /// Category.
    pub code: ToolErrorCode,
    /// What happened and what to do next, for the model.
    pub message: String,
    /// Whether the same call may succeed later.
    pub is_retryable: bool,
}

/// Categories of [`ToolError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolErrorCode {
    /// No tool of that name.
    ToolNotFound,
    /// The tool broke.
    ExecutionFailed,
    /// The tool took too long.
    Timeout,
    /// The arguments are no JSON or not what the schema allows.
    InvalidArguments,
}

impl ToolErrorCode {
    /// The code as models, logs and metrics see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolNotFound => "tool_not_found",
            Self::ExecutionFailed => "execution_failed",
            Self::Timeout => "timeout",
            Self::InvalidArguments => "invalid_arguments",
        }
    }
}

impl ToolInvokeRequest {
    /// The answer of a tool that did its work.
    pub fn response(&self, content: impl Into<String>) -> ToolInvokeResponse {
        ToolInvokeResponse {
            tool_call_id: self.tool_call_id.clone(),
            tool_name: self.tool_name.clone(),
            content: content.into(),
            is_error: false,
            handoff: None,
            files: Vec::new(),
        }
    }

    /// The answer of a handoff.
    pub fn handoff(&self, result: HandoffResult) -> ToolInvokeResponse {
        ToolInvokeResponse {
            is_error: !result.success,
            handoff: Some(result.clone()),
            ..self.response(result.to_content())
        }
    }

    /// The answer of a tool that reports a failure.
    pub fn failure(&self, content: impl Into<String>) -> ToolInvokeResponse {
        ToolInvokeResponse {
            is_error: true,
            ..self.response(content)
        }
    }

    /// An error of this call. Only a timeout is retryable unless [`ToolError::retryable`] says otherwise.
    pub fn error(&self, code: ToolErrorCode, message: impl Into<String>) -> ToolError {
        ToolError {
            tool_call_id: self.tool_call_id.clone(),
            tool_name: self.tool_name.clone(),
            code,
            message: message.into(),
            is_retryable: code == ToolErrorCode::Timeout,
        }
    }
}

impl ToolError {
    /// The same error, after which the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.is_retryable = true;
        self
    }

    /// The error as the model reads it in place of a result.
    pub fn to_content(&self) -> String {
        let Self {
            code,
            message,
            is_retryable,
            ..
        } = self;
        serde_json::json!({
            "error": { "code": code.as_str(), "message": message, "retryable": is_retryable }
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests;
