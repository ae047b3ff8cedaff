//! A request of the Responses API, and the chat request that it amounts to. Fields that are not read here are ignored.

use axum::http::StatusCode;
use chrono::Utc;
use rockbot_llm::chat::{ChatRequest, Function, Message, Tool};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    input::{self, Input},
    object::{Echo, new_id},
};
use crate::error::ApiError;

/// Body of `POST /v1/responses`.
#[derive(Debug, Deserialize)]
pub(crate) struct ResponsesRequest {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) input: Option<Input>,
    #[serde(default)]
    pub(super) previous_response_id: Option<String>,
    #[serde(default)]
    pub(super) store: Option<bool>,
    #[serde(default)]
    include: Option<Vec<String>>,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    tools: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    parallel_tool_calls: Option<bool>,
    #[serde(default)]
    text: Option<Text>,
    #[serde(default)]
    reasoning: Option<Reasoning>,
    #[serde(default)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    background: Option<bool>,
    /// Texts that would come from elsewhere: without them the answer would be one to another question.
    #[serde(default)]
    conversation: Option<Value>,
    #[serde(default)]
    prompt: Option<Value>,
    /// Fields that chat completions have under the same name.
    #[serde(default)]
    prompt_cache_key: Option<String>,
    #[serde(default)]
    safety_identifier: Option<String>,
    #[serde(default)]
    service_tier: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Text {
    #[serde(default)]
    format: Option<Map<String, Value>>,
    #[serde(default)]
    verbosity: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Reasoning {
    #[serde(default)]
    effort: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct FunctionTool {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
    #[serde(default)]
    strict: Option<bool>,
}

impl ResponsesRequest {
    /// Refuses what an agent cannot do and must not ignore.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let refused = |param: &str, why: &str| Err(invalid(param, why));
        let given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
        if self.background == Some(true) {
            return refused(
                "background",
                "an agent answers at once; leave it out or set it to false",
            );
        }
        if given(&self.conversation) {
            return refused("conversation", "is not supported; continue with previous_response_id");
        }
        if given(&self.prompt) {
            return refused("prompt", "is not supported; send instructions and input");
        }
        Ok(())
    }

    /// Whether the client wants to hand reasoning back that only its provider can read.
    fn includes_encrypted_reasoning(&self) -> bool {
        let included = self.include.iter().flatten();
        included.into_iter().any(|field| field == "reasoning.encrypted_content")
    }

    /// The same as a chat request about `messages`, and what of it the response repeats.
    pub(super) fn into_chat(self, messages: &[Message], agent: &str) -> Result<(ChatRequest, Echo), ApiError> {
        let mut extra = Map::new();
        let format = self.text.as_ref().and_then(|text| text.format.as_ref());
        let fields = [
            ("parallel_tool_calls", self.parallel_tool_calls.map(Value::from)),
            ("response_format", format.map(response_format).transpose()?),
            (
                "verbosity",
                self.text
                    .as_ref()
                    .and_then(|text| text.verbosity.clone())
                    .map(Value::from),
            ),
            (
                "reasoning_effort",
                self.reasoning
                    .as_ref()
                    .and_then(|reasoning| reasoning.effort.clone())
                    .map(Value::from),
            ),
            ("user", self.user.clone().map(Value::from)),
            ("prompt_cache_key", self.prompt_cache_key.clone().map(Value::from)),
            ("safety_identifier", self.safety_identifier.clone().map(Value::from)),
            ("service_tier", self.service_tier.clone().map(Value::from)),
        ];
        for (name, value) in fields {
            extra.extend(value.map(|value| (name.to_owned(), value)));
        }
        let tools = self.tools.iter().flatten().enumerate();
        let tools: Vec<_> = tools
            .map(|(index, tool)| function(tool, index))
            .collect::<Result<_, _>>()?;
        let instructions = self.instructions.iter().map(|text| Message::text("system", text));
        let chat = ChatRequest {
            messages: instructions.chain(messages.iter().cloned()).collect(),
            tools: (!tools.is_empty()).then_some(tools),
            tool_choice: self.tool_choice.as_ref().map(tool_choice).transpose()?,
            temperature: self.temperature,
            top_p: self.top_p,
            max_completion_tokens: self.max_output_tokens,
            extra,
            ..ChatRequest::default()
        };
        Ok((chat, self.into_echo(agent)))
    }

    fn into_echo(self, agent: &str) -> Echo {
        let encrypted_reasoning = self.includes_encrypted_reasoning();
        let reasoning = self.reasoning.map(|Reasoning { effort, extra }| {
            let mut reasoning = Map::from_iter([("effort".to_owned(), json!(effort))]);
            reasoning.extend(extra);
            reasoning
        });
        let text = self.text.unwrap_or(Text {
            format: None,
            verbosity: None,
        });
        let mut text_object = Map::new();
        text_object.insert(
            "format".into(),
            text.format.map_or_else(|| json!({ "type": "text" }), Value::Object),
        );
        text_object.extend(
            text.verbosity
                .map(|verbosity| ("verbosity".to_owned(), verbosity.into())),
        );
        Echo {
            id: new_id("resp"),
            created_at: Utc::now().timestamp(),
            model: agent.to_owned(),
            instructions: self.instructions,
            max_output_tokens: self.max_output_tokens,
            metadata: self.metadata.unwrap_or_default(),
            parallel_tool_calls: self.parallel_tool_calls.unwrap_or(true),
            previous_response_id: self.previous_response_id,
            reasoning: reasoning.unwrap_or_else(|| Map::from_iter([("effort".to_owned(), Value::Null)])),
            temperature: self.temperature,
            text: text_object,
            tool_choice: self.tool_choice.unwrap_or_else(|| json!("auto")),
            tools: self.tools.unwrap_or_default(),
            top_p: self.top_p,
            user: self.user,
            encrypted_reasoning,
        }
    }
}

/// An error that names a field and says what is allowed.
pub(super) fn invalid(param: impl Into<String>, why: &str) -> ApiError {
    let param = param.into();
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_value", format!("{param}: {why}")).param(param)
}

fn function(tool: &Map<String, Value>, index: usize) -> Result<Tool, ApiError> {
    let path = format!("tools[{index}]");
    match tool.get("type").and_then(Value::as_str) {
        Some("function") => {}
        Some(other) => {
            let why = format!(
                "an agent brings its own tools and takes those of type function from clients, none of type {other:?}"
            );
            return Err(invalid(format!("{path}.type"), &why));
        }
        None => return Err(invalid(format!("{path}.type"), "must be function")),
    }
    let FunctionTool {
        name,
        description,
        parameters,
        strict,
    } = input::read(&Value::Object(tool.clone()), &path)?;
    let function = Function {
        name,
        description,
        parameters,
        extra: strict
            .map(|strict| ("strict".to_owned(), strict.into()))
            .into_iter()
            .collect(),
    };
    Ok(Tool {
        kind: "function".to_owned(),
        function: Some(function),
        extra: Map::new(),
    })
}

/// A choice of tools, as chat completions have it: there, what belongs to a type is below its name.
fn tool_choice(choice: &Value) -> Result<Value, ApiError> {
    match (choice.as_str(), choice["type"].as_str()) {
        (Some("auto" | "none" | "required"), _) => Ok(choice.clone()),
        (None, Some("function")) => function_named(choice, "tool_choice"),
        (None, Some("allowed_tools")) => allowed_tools(choice),
        _ => Err(invalid(
            "tool_choice",
            "allowed are auto, none, required, {\"type\": \"function\", \"name\": …} and \
             {\"type\": \"allowed_tools\", \"mode\": …, \"tools\": […]}",
        )),
    }
}

fn allowed_tools(choice: &Value) -> Result<Value, ApiError> {
    let mode = choice["mode"].as_str();
    let mode = mode.filter(|mode| matches!(*mode, "auto" | "required"));
    let mode = mode.ok_or_else(|| invalid("tool_choice.mode", "allowed are auto and required"))?;
    let Some(tools) = choice["tools"].as_array() else {
        return Err(invalid("tool_choice.tools", "must be a list of tools"));
    };
    let named = |(index, tool)| function_named(tool, &format!("tool_choice.tools[{index}]"));
    let tools: Vec<_> = tools.iter().enumerate().map(named).collect::<Result<_, _>>()?;
    Ok(json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } }))
}

fn function_named(function: &Value, path: &str) -> Result<Value, ApiError> {
    match function["name"].as_str() {
        Some(name) => Ok(json!({ "type": "function", "function": { "name": name } })),
        None => Err(invalid(format!("{path}.name"), "must name the function")),
    }
}

/// The format of the text, as chat completions have it.
fn response_format(format: &Map<String, Value>) -> Result<Value, ApiError> {
    match format.get("type").and_then(Value::as_str) {
        Some("text" | "json_object") => Ok(Value::Object(format.clone())),
        Some("json_schema") => {
            let mut schema = format.clone();
            schema.remove("type");
            Ok(json!({ "type": "json_schema", "json_schema": schema }))
        }
        _ => Err(invalid(
            "text.format.type",
            "allowed are text, json_object and json_schema",
        )),
    }
}
