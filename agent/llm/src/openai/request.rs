//! A request as it is sent: the client's under the agent's own model name.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    ModelError,
    chat::{ChatRequest, Message},
    reasoning,
    wire::{Defaults, unwritable},
};

/// The body of `request`; `renamed` says which name the bound of generated tokens has.
pub(super) fn body(request: &ChatRequest, defaults: &Defaults, renamed: bool) -> Result<Vec<u8>, ModelError> {
    let bounded = request.max_tokens.is_some() || request.max_completion_tokens.is_some();
    let max_tokens = defaults.max_tokens.filter(|_| !bounded);
    let body = Body {
        model: &defaults.model,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        temperature: defaults.temperature.filter(|_| request.temperature.is_none()),
        top_p: defaults.top_p.filter(|_| request.top_p.is_none()),
        max_tokens: max_tokens.filter(|_| !renamed),
        max_completion_tokens: max_tokens.filter(|_| renamed),
        request,
    };
    if defaults.extra_body.is_empty() {
        // Without a detour through a tree of values: conversations are long.
        return serde_json::to_vec(&body).map_err(|error| unwritable(&error));
    }
    defaults.write(serde_json::to_value(&body).map_err(|error| unwritable(&error))?)
}

/// `request` without what other models thought: OpenAI refuses fields of messages and calls that it does not know.
pub(super) fn without_reasoning(request: &ChatRequest) -> Cow<'_, ChatRequest> {
    let reasons = |fields: &Map<String, Value>| fields.keys().any(|name| reasoning::is_field(name));
    let thinks = |message: &Message| reasons(&message.extra) || message.calls().iter().any(|call| reasons(&call.extra));
    if !request.messages.iter().any(thinks) {
        return Cow::Borrowed(request);
    }
    let mut request = request.clone();
    for message in &mut request.messages {
        message.extra.retain(|name, _| !reasoning::is_field(name));
        for call in message.tool_calls.iter_mut().flatten() {
            call.extra.retain(|name, _| !reasoning::is_field(name));
        }
    }
    Cow::Owned(request)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(flatten)]
    request: &'a ChatRequest,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}
