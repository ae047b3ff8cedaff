//! `tool_choice` of a request, read for wires that have a shape of their own for it.

use std::collections::HashSet;

use serde_json::Value;

use crate::chat::{ChatRequest, Tool};

/// Whether and what a model is to call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice<'a> {
    /// What it likes.
    Auto,
    /// Nothing.
    None,
    /// Something.
    Required,
    /// This function.
    Function(&'a str),
}

/// The choice of `request`; `None` where it makes none, and for shapes that nothing here knows: the provider's default.
pub(crate) fn read(request: &ChatRequest) -> Option<Choice<'_>> {
    let choice = request.tool_choice.as_ref()?;
    let word = match choice["type"].as_str() {
        Some("function") => return choice["function"]["name"].as_str().map(Choice::Function),
        Some("allowed_tools") => &choice["allowed_tools"]["mode"],
        _ => choice,
    };
    match word.as_str()? {
        "auto" => Some(Choice::Auto),
        "none" => Some(Choice::None),
        "required" => Some(Choice::Required),
        _ => None,
    }
}

/// The tools that the model may call: those of the request, without what `allowed_tools` leaves out. Providers other than
/// OpenAI have no such list beside the mode, so the model does not hear of the others.
pub(crate) fn offered(request: &ChatRequest) -> impl Iterator<Item = &Tool> {
    let list = request.tool_choice.as_ref();
    let list = list.and_then(|choice| choice["allowed_tools"]["tools"].as_array());
    let allowed: Option<HashSet<_>> = list.map(|tools| tools.iter().filter_map(name).collect());
    let tools = request.tools.iter().flatten();
    tools.filter(move |tool| {
        let known = allowed.as_ref();
        known.is_none_or(|allowed| allowed.contains(tool.name().unwrap_or(&tool.kind)))
    })
}

/// The name of a tool in the list: of a function its own, of others their kind.
fn name(tool: &Value) -> Option<&str> {
    tool["function"]["name"].as_str().or_else(|| tool["type"].as_str())
}
