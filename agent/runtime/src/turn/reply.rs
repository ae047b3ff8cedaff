//! One answer of the model, put together from its events.

use rockbot_llm::{
    REASONING_DETAILS, ToolCallDelta,
    chat::{Content, Message, ToolCall},
};
use serde_json::{Map, Value};

/// The answer so far.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) content: String,
    pub(super) reasoning: String,
    /// Reasoning with its provider's signature, which a provider wants back with the results of tools.
    pub(super) signed: Vec<Value>,
    pub(super) calls: Vec<Call>,
    pub(super) finish: Option<String>,
}

/// A call so far.
#[derive(Default)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    /// Fields that only its provider understands, and may want back.
    pub(super) extra: Map<String, Value>,
    /// The index under which the client sees it, when it calls a tool of the client.
    pub(super) shown_as: Option<u32>,
}

impl Reply {
    /// Keeps what the model must be given back of the fields that only its provider understands.
    pub(super) fn keep(&mut self, fields: &Map<String, Value>) {
        let signed = fields.get(REASONING_DETAILS).and_then(Value::as_array);
        self.signed.extend(signed.into_iter().flatten().cloned());
    }

    /// Adds a fragment to its call. Identity and name come once; providers that repeat them mean no more by it.
    pub(super) fn add(&mut self, delta: &ToolCallDelta) -> &mut Call {
        let position = (delta.index as usize).min(self.calls.len());
        if position == self.calls.len() {
            self.calls.push(Call::default());
        }
        let call = &mut self.calls[position];
        if let Some(id) = delta.id.as_ref().filter(|_| call.id.is_empty()) {
            call.id.clone_from(id);
        }
        if let Some(name) = delta.name.as_ref().filter(|_| call.name.is_empty()) {
            call.name.clone_from(name);
        }
        call.arguments.push_str(&delta.arguments);
        call.extra.extend(delta.extra.clone());
        call
    }

    /// Calls of the agent's own tools, and of tools that do not exist: the model is told so.
    pub(super) fn own_calls(&self) -> Vec<ToolCall> {
        self.calls
            .iter()
            .filter(|call| call.shown_as.is_none())
            .map(Call::to_wire)
            .collect()
    }

    /// The message that joins the conversation.
    pub(super) fn into_message(self) -> Message {
        let mut extra = Map::new();
        if !self.reasoning.is_empty() {
            // Models that reason between calls want to read what they thought.
            extra.insert("reasoning_content".to_owned(), self.reasoning.into());
        }
        if !self.signed.is_empty() {
            extra.insert(REASONING_DETAILS.to_owned(), self.signed.into());
        }
        Message {
            role: "assistant".to_owned(),
            content: (!self.content.is_empty()).then_some(Content::Text(self.content)),
            tool_calls: (!self.calls.is_empty()).then(|| self.calls.iter().map(Call::to_wire).collect()),
            tool_call_id: None,
            extra,
        }
    }
}

impl Call {
    fn to_wire(&self) -> ToolCall {
        ToolCall {
            extra: self.extra.clone(),
            ..ToolCall::function(&self.id, &self.name, &self.arguments)
        }
    }
}
