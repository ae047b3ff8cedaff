//! From a chat completion request to the body of `streamGenerateContent`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::FORMAT;
use crate::{
    ModelError,
    chat::{ChatRequest, Content, Message, Texts, Tool},
    choice::{self, Choice},
    parts::{self, Part},
    reasoning::{self, Kind},
    wire::Defaults,
};

/// The body of `request`.
pub(super) fn body(request: &ChatRequest, defaults: &Defaults) -> Result<Value, ModelError> {
    let mut body = json!({ "contents": contents(request)? });
    let mut set = |name: &str, value: Value| {
        if !is_nothing(&value) {
            body[name] = value;
        }
    };
    let mut system = Vec::new();
    for message in request.messages.iter().filter(|message| is_system(message)) {
        system.extend(said(message)?);
    }
    if !system.is_empty() {
        set("systemInstruction", json!({ "parts": system }));
    }
    set("tools", tools(request));
    set("toolConfig", tool_config(request));
    set("generationConfig", generation_config(request, defaults));
    Ok(body)
}

fn generation_config(request: &ChatRequest, defaults: &Defaults) -> Value {
    let extra = |name: &str| request.extra.get(name).cloned().unwrap_or_default();
    let stop = match &request.stop {
        None => Vec::new(),
        Some(Texts::One(text)) => vec![text.clone()],
        Some(Texts::Many(texts)) => texts.clone(),
    };
    let (temperature, top_p) = defaults.sampling(request);
    let format = extra("response_format");
    let (media_type, schema) = match format["type"].as_str() {
        Some("json_schema") => ("application/json".into(), format["json_schema"]["schema"].clone()),
        Some("json_object") => ("application/json".into(), Value::Null),
        _ => (Value::Null, Value::Null),
    };
    let mut config = json!({
        "temperature": temperature,
        "topP": top_p,
        "maxOutputTokens": defaults.bound(request),
        "stopSequences": stop,
        "seed": extra("seed"),
        "frequencyPenalty": request.frequency_penalty,
        "presencePenalty": request.presence_penalty,
        "responseMimeType": media_type,
        "responseJsonSchema": schema,
    });
    if let Value::Object(config) = &mut config {
        config.retain(|_, value| !is_nothing(value));
    }
    config
}

/// The conversation. Messages of the same side join: results of tools belong into one message.
fn contents(request: &ChatRequest) -> Result<Vec<Value>, ModelError> {
    let names: HashMap<_, _> = request
        .messages
        .iter()
        .flat_map(Message::calls)
        .map(|call| (call.id.as_str(), call.function.name.as_str()))
        .collect();
    let mut contents: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in request.messages.iter().filter(|message| !is_system(message)) {
        let (role, parts) = match &*message.role {
            "assistant" => ("model", answered(message)?),
            "tool" => ("user", vec![result(message, &names)]),
            _ => ("user", said(message)?),
        };
        match contents.last_mut() {
            Some((last, all)) if *last == role => all.extend(parts),
            // An empty message is refused.
            _ if parts.is_empty() => {}
            _ => contents.push((role, parts)),
        }
    }
    let content = |(role, parts)| json!({ "role": role, "parts": parts });
    Ok(contents.into_iter().map(content).collect())
}

fn is_system(message: &Message) -> bool {
    matches!(&*message.role, "system" | "developer")
}

/// What the model said and called. A call that it made while it thought must come back with its signature; that of a text
/// may, in a part without words, as it mostly comes.
fn answered(message: &Message) -> Result<Vec<Value>, ModelError> {
    let details = reasoning::of(message, FORMAT);
    let signature = |position: usize| {
        details.iter().find_map(|detail| match &detail.kind {
            Kind::Encrypted { data } if detail.index as usize == position => Some(data.as_str()),
            _ => None,
        })
    };
    let mut parts = said(message)?;
    for detail in &details {
        if let Kind::Text {
            text,
            signature: Some(signature),
        } = &detail.kind
        {
            parts.push(json!({ "text": text, "thoughtSignature": signature }));
        }
    }
    for (position, call) in message.calls().iter().enumerate() {
        // Arguments that are no object were answered with an error; the model may see them as they can be sent.
        let arguments = serde_json::from_str::<Map<String, Value>>(&call.function.arguments).unwrap_or_default();
        let mut part = json!({ "functionCall": { "id": call.id, "name": call.function.name, "args": arguments } });
        if let Some(signature) = signature(position) {
            part["thoughtSignature"] = signature.into();
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Gemini wants the name of the function beside the identity of the call, and an object as its result.
fn result(message: &Message, names: &HashMap<&str, &str>) -> Value {
    let text = message.plain_text();
    let response =
        serde_json::from_str::<Map<String, Value>>(&text).map_or_else(|_| json!({ "result": text }), Value::Object);
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let name = names.get(id).copied().unwrap_or("unknown");
    json!({ "functionResponse": { "id": id, "name": name, "response": response } })
}

/// The content of a message.
fn said(message: &Message) -> Result<Vec<Value>, ModelError> {
    match &message.content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![json!({ "text": text })]),
        Some(Content::Parts(parts)) => parts.iter().map(part).collect(),
    }
}

fn part(part: &Value) -> Result<Value, ModelError> {
    Ok(match parts::read(part) {
        Part::Text(text) => json!({ "text": text }),
        Part::Data { media_type, data } => json!({ "inlineData": { "mimeType": media_type, "data": data } }),
        Part::Url(uri) | Part::FileId(uri) => json!({ "fileData": { "fileUri": uri } }),
        // Parts of Gemini's own shape have no type; they pass as they are.
        Part::Other(own) if own.is_object() && own.get("type").is_none() => own.clone(),
        Part::Other(part) => {
            return Err(parts::unsupported(
                part,
                "Gemini",
                "text, image_url, file and input_audio",
            ));
        }
    })
}

/// Functions in one list; tools of other kinds are Gemini's own and pass as they are, without OpenAI's `type`.
fn tools(request: &ChatRequest) -> Value {
    let (mut functions, mut tools) = (Vec::new(), Vec::new());
    for tool in choice::offered(request) {
        match function(tool) {
            Some(function) => functions.push(function),
            None => tools.push(Value::Object(tool.extra.clone())),
        }
    }
    if !functions.is_empty() {
        tools.insert(0, json!({ "functionDeclarations": functions }));
    }
    tools.into()
}

fn function(tool: &Tool) -> Option<Value> {
    let function = tool.function.as_ref()?;
    let mut declared = json!({ "name": function.name });
    if let Some(description) = &function.description {
        declared["description"] = description.as_str().into();
    }
    if let Some(schema) = &function.parameters {
        declared["parametersJsonSchema"] = schema.clone();
    }
    Some(declared)
}

fn tool_config(request: &ChatRequest) -> Value {
    if choice::offered(request).next().is_none() {
        return Value::Null;
    }
    let config = match choice::read(request) {
        Some(Choice::Auto) => json!({ "mode": "AUTO" }),
        Some(Choice::None) => json!({ "mode": "NONE" }),
        Some(Choice::Required) => json!({ "mode": "ANY" }),
        Some(Choice::Function(name)) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
        None => return Value::Null,
    };
    json!({ "functionCallingConfig": config })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
