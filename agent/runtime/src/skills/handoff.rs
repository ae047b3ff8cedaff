//! Handoffs: a conversation, or a part of it, goes to another agent, to a person or to a service.
//!
//! To the model a handoff is a tool. It differs in what it answers, in the hooks around it, and in that one to a person
//! ends the turn: what the person says is the client's next message, which becomes the result that the model reads.

use serde::Serialize;
use serde_json::{Map, Value};

/// To whom a handoff goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HandoffType {
    /// Another agent; the model reads what it answers.
    #[default]
    Agent,
    /// A person; the turn ends with what the handoff says.
    Human,
    /// A service; the model reads what it answers.
    Service,
}

/// What became of a handoff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandoffResult {
    /// The answer, or why there is none.
    pub result: String,
    /// To whom it went. The runtime sets it, whatever the handoff says.
    pub handoff_type: HandoffType,
    /// Whether it was taken over.
    pub success: bool,
    /// Anything else that is worth knowing.
    pub metadata: Map<String, Value>,
}

impl HandoffResult {
    /// A handoff that was taken over.
    pub fn done(result: impl Into<String>) -> Self {
        Self {
            result: result.into(),
            handoff_type: HandoffType::default(),
            success: true,
            metadata: Map::new(),
        }
    }

    /// A handoff that nobody took over.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self {
            success: false,
            ..Self::done(reason)
        }
    }

    /// Adds to the metadata.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The result as the model reads it.
    pub(crate) fn to_content(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// With what the turn ends, if this ends it.
    pub(crate) fn last_words(&self) -> Option<String> {
        (self.success && self.handoff_type == HandoffType::Human).then(|| self.result.clone())
    }
}

impl From<String> for HandoffResult {
    fn from(result: String) -> Self {
        Self::done(result)
    }
}

impl From<&str> for HandoffResult {
    fn from(result: &str) -> Self {
        Self::done(result)
    }
}
