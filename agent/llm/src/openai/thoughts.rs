//! What a model thought, given back as its server has said it: some servers refuse it under any other name, and some want
//! to have it back with the results of tools.
//!
//! Clients and turns know one name for it, `reasoning_content`. A server with another puts a mark beside it, a piece of
//! `reasoning_details` without words, which comes back wherever reasoning comes back, and is read here again.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::{
    Event,
    chat::{ChatRequest, Content, Message},
    reasoning::{self, Detail, Kind, REASONING_DETAILS},
};

const REASONING_CONTENT: &str = "reasoning_content";

/// Where a server says what its model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the field `reasoning_content`.
    ReasoningContent,
    /// In the field `reasoning`.
    Reasoning,
    /// In parts of the content, before the text.
    Content,
}

impl Place {
    /// The mark of all but the first, which needs none.
    pub(super) fn mark(self) -> Option<Event> {
        Some(reasoning::event(Detail {
            kind: Kind::Text {
                text: String::new(),
                signature: None,
            },
            format: self.format()?.to_owned(),
            index: 0,
        }))
    }

    fn format(self) -> Option<&'static str> {
        match self {
            Self::ReasoningContent => None,
            Self::Reasoning => Some("openai-reasoning"),
            Self::Content => Some("openai-content"),
        }
    }

    /// Takes the mark out of `message`.
    fn unmark(message: &mut Message) -> Option<Self> {
        let details = message.extra.get_mut(REASONING_DETAILS)?.as_array_mut()?;
        let mut marked = None;
        details.retain(|detail| {
            let place = Self::of(detail);
            marked = marked.or(place);
            place.is_none()
        });
        if details.is_empty() {
            message.extra.shift_remove(REASONING_DETAILS);
        }
        marked
    }

    fn of(detail: &Value) -> Option<Self> {
        let format = detail["format"].as_str()?;
        [Self::Reasoning, Self::Content]
            .into_iter()
            .find(|place| place.format() == Some(format))
    }
}

/// `request` with the thoughts in it where the server wants them.
pub(super) fn returned(request: &ChatRequest, dialect: Dialect) -> Cow<'_, ChatRequest> {
    let changes = if dialect.is_openai() { thinks } else { is_marked };
    if !request.messages.iter().any(changes) {
        return Cow::Borrowed(request);
    }
    let mut request = request.clone();
    for message in &mut request.messages {
        if dialect.is_openai() {
            forget(message);
        } else if let Some(place) = Place::unmark(message) {
            give_back(message, place);
        }
    }
    Cow::Owned(request)
}

fn thinks(message: &Message) -> bool {
    let reasons = |fields: &Map<String, Value>| fields.keys().any(|name| is_thought(name));
    reasons(&message.extra) || message.calls().iter().any(|call| reasons(&call.extra))
}

fn is_marked(message: &Message) -> bool {
    let details = message.extra.get(REASONING_DETAILS).and_then(Value::as_array);
    details.into_iter().flatten().any(|detail| Place::of(detail).is_some())
}

/// OpenAI refuses fields of messages and calls that it does not know.
fn forget(message: &mut Message) {
    message.extra.retain(|name, _| !is_thought(name));
    for call in message.tool_calls.iter_mut().flatten() {
        call.extra.retain(|name, _| !is_thought(name));
    }
}

fn give_back(message: &mut Message, place: Place) {
    let Some(thought) = message.extra.shift_remove(REASONING_CONTENT) else {
        return;
    };
    if place == Place::Reasoning {
        message.extra.insert("reasoning".to_owned(), thought);
        return;
    }
    let mut parts = vec![json!({ "type": "thinking", "thinking": [{ "type": "text", "text": thought }] })];
    match message.content.take() {
        None => {}
        Some(Content::Text(text)) => parts.push(json!({ "type": "text", "text": text })),
        Some(Content::Parts(more)) => parts.extend(more),
    }
    message.content = Some(Content::Parts(parts));
}

/// Whether a field of a message or of a call is about thoughts. Google's OpenAI-compatible endpoint has signatures in
/// `extra_content`.
fn is_thought(name: &str) -> bool {
    matches!(
        name,
        REASONING_DETAILS | REASONING_CONTENT | "reasoning" | "extra_content"
    )
}
