//! What a model must be given back of its reasoning when it goes on after a tool: blocks with their signatures.
//!
//! They travel in the field `reasoning_details` of a delta and of an assistant's message, in the shape that OpenRouter
//! gave to it, so that a client that returns what it was given loses nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Event, chat::Message};

/// Field of an [`Event::Extra`] and of an assistant's message that holds a list of what must come back unchanged.
pub const REASONING_DETAILS: &str = "reasoning_details";

/// One piece of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) kind: Kind,
    /// Whose it is: a provider refuses the signatures of another.
    #[serde(default)]
    pub(crate) format: String,
    /// Position among the blocks of reasoning, or of the tool call that it belongs to.
    #[serde(default)]
    pub(crate) index: u32,
}

/// Kinds of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Kind {
    /// Readable, with the provider's signature.
    #[serde(rename = "reasoning.text")]
    Text {
        #[serde(default)]
        text: String,
        #[serde(default)]
        signature: Option<String>,
    },
    /// Readable by the provider alone.
    #[serde(rename = "reasoning.encrypted")]
    Encrypted { data: String },
}

/// The event that carries `detail`.
pub(crate) fn event(detail: Detail) -> Event {
    let detail = serde_json::to_value(detail).unwrap_or_default();
    Event::Extra(Map::from_iter([(
        REASONING_DETAILS.to_owned(),
        Value::Array(vec![detail]),
    )]))
}

/// The reasoning of `format` in a message, in order.
pub(crate) fn of(message: &Message, format: &str) -> Vec<Detail> {
    let details = message
        .extra
        .get(REASONING_DETAILS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    details
        .filter_map(|detail| Detail::deserialize(detail).ok())
        .filter(|detail| detail.format == format)
        .collect()
}
