//! The three wires that providers speak, each as the bytes of its own event stream, field by field as the real one sends
//! them. A wire refuses what the real one refuses, so that an adapter that strays is noticed.

mod anthropic;
mod gemini;
mod openai;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::step::Step;

/// Letters in a fragment of a call's arguments.
const FRAGMENT: usize = 7;
/// What a provider puts on reasoning that must come back unchanged.
const SIGNATURE: &str = "c2lnbmVk";

/// A provider's protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    /// Chat completions.
    OpenAi,
    /// Messages.
    Anthropic,
    /// `streamGenerateContent`.
    Gemini,
}

/// What one request is answered with: the step, the request as it came, and its conversation in OpenAI's shape.
pub(crate) struct Answer<'a> {
    pub(crate) step: &'a Step,
    pub(crate) request: &'a Value,
    pub(crate) chat: &'a Value,
    /// The name of the model, wherever the wire has it.
    pub(crate) model: &'a str,
}

impl Wire {
    /// The server-sent events of an answer, each with its blank line.
    pub(crate) fn events(self, answer: &Answer<'_>) -> Vec<String> {
        if let Some(raw) = &answer.step.raw {
            return vec![raw.clone()];
        }
        let (events, alive) = match self {
            Self::OpenAi => (openai::events(answer), openai::KEEP_ALIVE),
            Self::Anthropic => (anthropic::events(answer), anthropic::KEEP_ALIVE),
            Self::Gemini => (gemini::events(answer), gemini::KEEP_ALIVE),
        };
        if !answer.step.keep_alive {
            return events;
        }
        events.into_iter().flat_map(|event| [alive.to_owned(), event]).collect()
    }

    /// The conversation and the tools of a request in OpenAI's shape, as far as scenarios read them.
    pub(crate) fn chat(self, request: &Value) -> Value {
        match self {
            Self::OpenAi => request.clone(),
            Self::Anthropic => anthropic::chat(request),
            Self::Gemini => gemini::chat(request),
        }
    }

    /// Why the provider would not accept a request, in its words.
    pub(crate) fn complaint(self, headers: &HeaderMap, request: &Value) -> Option<String> {
        match self {
            Self::OpenAi => openai::complaint(request),
            Self::Anthropic => anthropic::complaint(headers, request),
            Self::Gemini => gemini::complaint(request),
        }
    }

    /// Why the provider of `step` would not accept a request that others of its wire accept.
    pub(crate) fn unsupported(self, step: &Step, request: &Value) -> Option<String> {
        match self {
            Self::OpenAi => openai::unsupported(step, request),
            Self::Anthropic | Self::Gemini => None,
        }
    }

    /// The key of a request.
    pub(crate) fn key(self, headers: &HeaderMap) -> Option<&str> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = || header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match self {
            Self::OpenAi => bearer().or_else(|| header("api-key")),
            Self::Anthropic => bearer().or_else(|| header("x-api-key")),
            Self::Gemini => header("x-goog-api-key"),
        }
    }

    /// The body of an error.
    pub(crate) fn error(self, status: u16, message: &str) -> Value {
        match self {
            Self::OpenAi => openai::error(status, message),
            Self::Anthropic => anthropic::error(status, message),
            Self::Gemini => gemini::error(status, message),
        }
    }
}

/// The words of a text, each with the white space after it.
fn words(text: Option<&String>) -> Vec<String> {
    let words = text
        .into_iter()
        .flat_map(|text| text.split_inclusive(char::is_whitespace));
    words.map(str::to_owned).collect()
}

/// A text in fragments that cut where a model would not.
fn fragments(text: &str) -> Vec<String> {
    let letters: Vec<_> = text.chars().collect();
    letters
        .chunks(FRAGMENT)
        .map(|letters| letters.iter().collect())
        .collect()
}

/// A token for each word that was read, so that a test can know the sum.
fn read(chat: &Value) -> usize {
    let messages = chat["messages"].as_array().into_iter().flatten();
    messages
        .filter_map(|message| message["content"].as_str())
        .map(|text| text.split_whitespace().count())
        .sum()
}

/// A field of `request` that is not among `known`.
fn unknown<'a>(request: &'a Value, known: &[&str]) -> Option<&'a String> {
    request.as_object()?.keys().find(|name| !known.contains(&name.as_str()))
}

/// Tools by name, in OpenAI's shape.
fn tools<'a>(names: impl Iterator<Item = &'a Value>) -> Value {
    let tool = |name: &Value| json!({ "type": "function", "function": { "name": name } });
    names.map(tool).collect()
}
