//! From a chat completion request to the body of a Messages request.

use serde_json::{Map, Value, json};

use super::FORMAT;
use crate::{
    ModelError,
    chat::{ChatRequest, Content, Message, Texts, Tool, ToolCall},
    choice::{self, Choice},
    parts::{self, Part},
    reasoning::{self, Kind},
    wire::Defaults,
};

/// Anthropic requires a bound of generated tokens; this one is what its present models can write at least.
const MAX_TOKENS: u32 = 8192;
const JSON_ONLY: &str = "Answer with one JSON object and nothing else.";

/// The body of `request`.
pub(super) fn body(request: &ChatRequest, defaults: &Defaults) -> Result<Value, ModelError> {
    let mut body = json!({
        "model": defaults.model,
        "max_tokens": defaults.bound(request).unwrap_or(MAX_TOKENS),
        "stream": true,
        "messages": messages(request)?,
    });
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            body[name] = value;
        }
    };
    let mut system = system(request)?;
    let format = &request.extra.get("response_format").cloned().unwrap_or_default();
    match format["type"].as_str() {
        Some("json_schema") => set(
            "output_config",
            json!({ "format": { "type": "json_schema", "schema": format["json_schema"]["schema"] } }),
        ),
        Some("json_object") => system.push(text_block(JSON_ONLY)),
        _ => {}
    }
    set("system", list(system));
    let (temperature, top_p) = defaults.sampling(request);
    // OpenAI's scale goes to 2, Anthropic's to 1. Its newer models refuse both together.
    set(
        "temperature",
        temperature.map(|temperature| temperature.min(1.0)).into(),
    );
    set("top_p", top_p.filter(|_| temperature.is_none()).into());
    set("stop_sequences", list(stop(request)));
    set("tools", list(choice::offered(request).map(tool).collect()));
    set("tool_choice", tool_choice(request));
    if let Some(user) = request.extra.get("user") {
        set("metadata", json!({ "user_id": user }));
    }
    Ok(body)
}

/// Everything that is said by the system, whenever it is said: Anthropic hears it first.
fn system(request: &ChatRequest) -> Result<Vec<Value>, ModelError> {
    let mut system = Vec::new();
    for message in request.messages.iter().filter(|message| is_system(message)) {
        system.extend(blocks(message)?);
    }
    Ok(system)
}

fn is_system(message: &Message) -> bool {
    matches!(&*message.role, "system" | "developer")
}

/// The conversation. Messages of the same side join: results of tools belong into one message of the user.
fn messages(request: &ChatRequest) -> Result<Vec<Value>, ModelError> {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in request.messages.iter().filter(|message| !is_system(message)) {
        let (role, content) = match &*message.role {
            "assistant" => ("assistant", said(message)?),
            "tool" => ("user", vec![result(message)?]),
            _ => ("user", blocks(message)?),
        };
        match messages.last_mut() {
            Some((last, blocks)) if *last == role => blocks.extend(content),
            // An empty message is refused.
            _ if content.is_empty() => {}
            _ => messages.push((role, content)),
        }
    }
    let message = |(role, content)| json!({ "role": role, "content": content });
    Ok(messages.into_iter().map(message).collect())
}

/// What an assistant thought, said and called, in the order that Anthropic wants.
fn said(message: &Message) -> Result<Vec<Value>, ModelError> {
    let thought = reasoning::of(message, FORMAT)
        .into_iter()
        .map(|detail| match detail.kind {
            Kind::Text { text, signature } => json!({ "type": "thinking", "thinking": text, "signature": signature }),
            Kind::Encrypted { data } => json!({ "type": "redacted_thinking", "data": data }),
        });
    let mut blocks_: Vec<_> = thought.collect();
    blocks_.extend(blocks(message)?);
    blocks_.extend(message.calls().iter().map(call));
    Ok(blocks_)
}

fn call(call: &ToolCall) -> Value {
    // Arguments that are no object were answered with an error; the model may see them as they can be sent.
    let input = serde_json::from_str::<Map<String, Value>>(&call.function.arguments).unwrap_or_default();
    json!({ "type": "tool_use", "id": identity(&call.id), "name": call.function.name, "input": input })
}

fn result(message: &Message) -> Result<Value, ModelError> {
    let id = identity(message.tool_call_id.as_deref().unwrap_or_default());
    Ok(json!({ "type": "tool_result", "tool_use_id": id, "content": blocks(message)? }))
}

/// Anthropic accepts no other letters in identities, and clients bring calls of other providers.
fn identity(id: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    id.chars()
        .map(|letter| if allowed(letter) { letter } else { '_' })
        .collect()
}

/// The content of a message. Empty texts are refused, so they are left out.
fn blocks(message: &Message) -> Result<Vec<Value>, ModelError> {
    match &message.content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(some_text(text).into_iter().collect()),
        Some(Content::Parts(parts)) => parts.iter().filter_map(|part| block(part).transpose()).collect(),
    }
}

fn block(part: &Value) -> Result<Option<Value>, ModelError> {
    let mut block = match parts::read(part) {
        Part::Text(text) => match some_text(text) {
            Some(block) => block,
            None => return Ok(None),
        },
        Part::Data { media_type, data } => {
            let source = json!({ "type": "base64", "media_type": media_type, "data": data });
            match media_type.split('/').next() {
                Some("image") => json!({ "type": "image", "source": source }),
                Some("application" | "text") => json!({ "type": "document", "source": source }),
                _ => return Err(parts::unsupported(part, "Anthropic", "text, image_url and file")),
            }
        }
        Part::Url(url) => {
            let kind = if part["type"] == "image_url" {
                "image"
            } else {
                "document"
            };
            json!({ "type": kind, "source": { "type": "url", "url": url } })
        }
        Part::FileId(id) => json!({ "type": "document", "source": { "type": "file", "file_id": id } }),
        // Blocks of Anthropic's own shape pass as they are.
        Part::Other(part) => return Ok(Some(part.clone())),
    };
    if let Some(cache) = part.get("cache_control") {
        block["cache_control"] = cache.clone();
    }
    Ok(Some(block))
}

fn some_text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text_block(text))
}

fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// Anthropic refuses sequences of nothing but white space.
fn stop(request: &ChatRequest) -> Vec<Value> {
    let texts = match &request.stop {
        None => &[],
        Some(Texts::One(text)) => std::slice::from_ref(text),
        Some(Texts::Many(texts)) => texts.as_slice(),
    };
    texts
        .iter()
        .filter(|text| !text.trim().is_empty())
        .map(|text| text.as_str().into())
        .collect()
}

/// Tools of other kinds are Anthropic's own and pass as they are.
fn tool(tool: &Tool) -> Value {
    let Some(function) = &tool.function else {
        let mut own = Value::Object(tool.extra.clone());
        own["type"] = tool.kind.as_str().into();
        return own;
    };
    let schema = function
        .parameters
        .clone()
        .unwrap_or_else(|| json!({ "type": "object" }));
    let mut sent = json!({ "name": function.name, "input_schema": schema });
    if let Some(description) = &function.description {
        sent["description"] = description.as_str().into();
    }
    if let Some(cache) = tool.extra.get("cache_control") {
        sent["cache_control"] = cache.clone();
    }
    sent
}

fn tool_choice(request: &ChatRequest) -> Value {
    if choice::offered(request).next().is_none() {
        return Value::Null;
    }
    let alone = request.extra.get("parallel_tool_calls") == Some(&Value::Bool(false));
    let mut choice = match choice::read(request) {
        Some(Choice::None) => return json!({ "type": "none" }),
        Some(Choice::Required) => json!({ "type": "any" }),
        Some(Choice::Function(name)) => json!({ "type": "tool", "name": name }),
        Some(Choice::Auto) => json!({ "type": "auto" }),
        None if alone => json!({ "type": "auto" }),
        None => return Value::Null,
    };
    if alone {
        choice["disable_parallel_tool_use"] = true.into();
    }
    choice
}

/// Nothing rather than an empty list.
fn list(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { items.into() }
}
