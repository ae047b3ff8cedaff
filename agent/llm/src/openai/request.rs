//! A request as it is sent: the client's under the agent's own model name.

use serde::Serialize;

use super::{Dialect, thoughts};
use crate::{
    ModelError,
    chat::ChatRequest,
    wire::{Defaults, unwritable},
};

/// The body of `request`.
pub(super) fn body(request: &ChatRequest, defaults: &Defaults, dialect: Dialect) -> Result<Vec<u8>, ModelError> {
    let bound = defaults.bound(request);
    let (temperature, top_p) = defaults.sampling(request);
    let body = Body {
        model: &defaults.model,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        temperature,
        top_p,
        max_tokens: bound.filter(|_| !dialect.is_openai()),
        max_completion_tokens: bound.filter(|_| dialect.is_openai()),
        request: &thoughts::returned(request, dialect),
    };
    if defaults.extra_body.is_empty() {
        // Without a detour through a tree of values: conversations are long.
        return serde_json::to_vec(&body).map_err(|error| unwritable(&error));
    }
    defaults.write(serde_json::to_value(&body).map_err(|error| unwritable(&error))?)
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
