//! OpenAI's chat completion objects, as they are written. Also what a stream of them says of tools, to those who ask.

use chrono::Utc;
use rockbot_agent::ToolResult;
use rockbot_llm::{
    ToolCallDelta, Usage,
    chat::{FunctionCall, ToolCall},
};
use rockbot_scripts_api::OutputFile;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// What all chunks of an answer have in common.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    /// What the provider says of itself.
    pub(super) origin: Map<String, Value>,
}

impl Head {
    pub(super) fn new(model: &str) -> Self {
        let id = format!("chatcmpl-{}", Uuid::new_v4().simple());
        Self {
            id,
            created: Utc::now().timestamp(),
            model: model.to_owned(),
            origin: Map::new(),
        }
    }
}

/// `chat.completion`
#[derive(Serialize)]
pub(super) struct Completion {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) choices: [CompletionChoice; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
    #[serde(flatten)]
    pub(super) origin: Map<String, Value>,
}

#[derive(Serialize)]
pub(super) struct CompletionChoice {
    pub(super) index: u32,
    pub(super) message: CompletionMessage,
    pub(super) logprobs: Option<Map<String, Value>>,
    pub(super) finish_reason: String,
}

#[derive(Default, Serialize)]
pub(super) struct CompletionMessage {
    pub(super) role: &'static str,
    pub(super) content: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall>,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

/// `chat.completion.chunk`
#[derive(Serialize)]
pub(super) struct Chunk<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: i64,
    pub(super) model: &'a str,
    pub(super) choices: &'a [ChunkChoice],
    /// Absent unless the client asks for usage; then null in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<&'a Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rockbot: Option<ToolEvent<'a>>,
    #[serde(flatten)]
    pub(super) origin: &'a Map<String, Value>,
}

#[derive(Default, Serialize)]
pub(super) struct ChunkChoice {
    pub(super) index: u32,
    pub(super) delta: ChunkDelta,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<Map<String, Value>>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Default, Serialize)]
pub(super) struct ChunkDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<[ChunkToolCall; 1]>,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

/// Identity, type and name come with the first fragment only: clients join what is repeated.
#[derive(Serialize)]
pub(super) struct ChunkToolCall {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: ChunkFunction,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize)]
struct ChunkFunction {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

impl From<ToolCallDelta> for ChunkToolCall {
    fn from(delta: ToolCallDelta) -> Self {
        let ToolCallDelta {
            index,
            id,
            name,
            arguments,
            extra,
        } = delta;
        Self {
            index,
            kind: id.is_some().then_some("function"),
            id,
            function: ChunkFunction { name, arguments },
            extra,
        }
    }
}

/// What happens to a tool of the agent. Not a part of OpenAI's protocol, so only those who ask for it get it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToolEvent<'a> {
    /// A tool starts.
    ToolCall {
        id: &'a str,
        #[serde(flatten)]
        function: &'a FunctionCall,
    },
    /// A tool has ended.
    ToolResult {
        id: &'a str,
        name: &'a str,
        content: &'a str,
        is_error: bool,
        /// Files that the tool made for the person.
        #[serde(skip_serializing_if = "<[OutputFile]>::is_empty")]
        files: &'a [OutputFile],
    },
}

impl<'a> ToolEvent<'a> {
    pub(super) fn call(call: &'a ToolCall) -> Self {
        Self::ToolCall {
            id: &call.id,
            function: &call.function,
        }
    }

    pub(super) fn result(result: &'a ToolResult) -> Self {
        let ToolResult {
            id,
            name,
            content,
            is_error,
            files,
        } = result;
        Self::ToolResult {
            id,
            name,
            content,
            is_error: *is_error,
            files,
        }
    }
}
