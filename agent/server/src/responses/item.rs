//! The items of a response's output, and the texts in them.

use serde::Serialize;
use serde_json::{Map, Value};

/// One item of the output.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    Reasoning {
        id: String,
        /// Providers tell what a model thinks, and no summaries of it.
        summary: [(); 0],
        content: Vec<Part>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
        status: ItemStatus,
    },
    Message {
        id: String,
        role: &'static str,
        content: Vec<Part>,
        status: ItemStatus,
    },
    FunctionCall {
        id: String,
        call_id: String,
        name: String,
        arguments: String,
        status: ItemStatus,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    ImageGenerationCall {
        id: String,
        status: ItemStatus,
        output_format: String,
        /// In base64; absent until it is complete.
        result: Option<String>,
    },
}

/// A part of an item's content.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    ReasoningText {
        text: String,
    },
    OutputText {
        text: String,
        annotations: Vec<Value>,
        logprobs: [(); 0],
    },
    Refusal {
        refusal: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// Kinds of text that grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reasoning,
    Text,
    Refusal,
}

impl Item {
    /// The identity of an item and its content; a call and an image have none.
    pub(super) fn growing(&mut self) -> Option<(&str, &mut Vec<Part>)> {
        match self {
            Self::Reasoning { id, content, .. } | Self::Message { id, content, .. } => Some((id, content)),
            Self::FunctionCall { .. } | Self::ImageGenerationCall { .. } => None,
        }
    }
}

impl Kind {
    pub(super) fn part(self) -> Part {
        let text = String::new();
        match self {
            Self::Reasoning => Part::ReasoningText { text },
            Self::Text => Part::OutputText {
                text,
                annotations: Vec::new(),
                logprobs: [],
            },
            Self::Refusal => Part::Refusal { refusal: text },
        }
    }

    pub(super) fn delta(self) -> &'static str {
        match self {
            Self::Reasoning => "response.reasoning_text.delta",
            Self::Text => "response.output_text.delta",
            Self::Refusal => "response.refusal.delta",
        }
    }

    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Reasoning => "response.reasoning_text.done",
            Self::Text => "response.output_text.done",
            Self::Refusal => "response.refusal.done",
        }
    }

    /// What the whole text is called in the event that ends it.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Reasoning | Self::Text => "text",
            Self::Refusal => "refusal",
        }
    }
}

impl Part {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::ReasoningText { text } | Self::OutputText { text, .. } => text,
            Self::Refusal { refusal } => refusal,
        }
    }

    pub(super) fn push(&mut self, more: &str) {
        match self {
            Self::ReasoningText { text } | Self::OutputText { text, .. } => text.push_str(more),
            Self::Refusal { refusal } => refusal.push_str(more),
        }
    }
}
