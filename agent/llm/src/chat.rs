//! OpenAI's chat completion request, as far as RockBot reads it. Fields that are not read here are kept and passed on.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Value};

/// Body of a chat completion request.
///
/// `model`, `stream` and `stream_options` say how to answer the client; they are never passed on. Bounds and sampling are
/// passed on as each provider wants them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// Who is asked: the name of an agent.
    #[serde(default, skip_serializing)]
    pub model: Option<String>,
    /// Whether the answer is streamed.
    #[serde(default, skip_serializing)]
    pub stream: Option<bool>,
    /// What the stream carries besides the answer.
    #[serde(default, skip_serializing)]
    pub stream_options: Option<StreamOptions>,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    /// Which tool the model must call, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    /// Sampling temperature.
    #[serde(default, skip_serializing)]
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    #[serde(default, skip_serializing)]
    pub top_p: Option<f64>,
    /// Upper bound of generated tokens, by its old name.
    #[serde(default, skip_serializing)]
    pub max_tokens: Option<u32>,
    /// Upper bound of generated tokens, by its new name.
    #[serde(default, skip_serializing)]
    pub max_completion_tokens: Option<u32>,
    /// Penalty for words by how often they occurred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Penalty for words that occurred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Texts that end the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Texts>,
    /// Number of answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Every other field, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Options of a streamed answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct StreamOptions {
    /// Whether the last chunk carries the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said; absent when an assistant only calls tools.
    #[serde(default)]
    pub content: Option<Content>,
    /// Calls that an assistant makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// The call that a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Every other field, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Content of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Typed parts: text, images, audio, files.
    Parts(Vec<Value>),
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Texts {
    /// A single text.
    One(String),
    /// A list of texts.
    Many(Vec<String>),
}

/// A tool that is offered to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Kind of tool; always `function` for the tools of an agent.
    #[serde(rename = "type")]
    pub kind: String,
    /// The function, when `kind` is `function`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,
    /// Every other field, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a model is told about a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Name by which it is called.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Every other field, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A call that a model makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Correlates the call with the message that carries its result.
    pub id: String,
    /// Kind of tool; `function` for every call that an agent can run.
    #[serde(rename = "type", default = "function_kind")]
    pub kind: String,
    /// Name and arguments.
    #[serde(default)]
    pub function: FunctionCall,
    /// Every other field, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Name and arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// Name of the function.
    pub name: String,
    /// Arguments as JSON text, exactly as the model wrote it.
    #[serde(default)]
    pub arguments: String,
    /// Every other field, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message of `role` that says `text`.
    pub fn text(role: &str, text: impl Into<String>) -> Self {
        let content = Some(Content::Text(text.into()));
        Self {
            role: role.to_owned(),
            content,
            tool_calls: None,
            tool_call_id: None,
            extra: Map::new(),
        }
    }

    /// The result of the call `id`.
    pub fn tool_result(id: &str, content: impl Into<String>) -> Self {
        Self {
            tool_call_id: Some(id.to_owned()),
            ..Self::text("tool", content)
        }
    }

    /// The calls in it; none when it makes no calls.
    pub fn calls(&self) -> &[ToolCall] {
        self.tool_calls.as_deref().unwrap_or_default()
    }

    /// Its text: the parts of type `text` joined when it has parts.
    pub fn plain_text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
                texts.join("\n")
            }
        }
    }
}

impl Tool {
    /// A function that is offered to a model.
    pub fn function(name: &str, description: &str, parameters: Value) -> Self {
        let function = Function {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            parameters: Some(parameters),
            extra: Map::new(),
        };
        Self {
            kind: function_kind(),
            function: Some(function),
            extra: Map::new(),
        }
    }

    /// Name of the function, if it is one.
    pub fn name(&self) -> Option<&str> {
        self.function.as_ref().map(|function| function.name.as_str())
    }
}

impl ToolCall {
    /// A call of a function.
    pub fn function(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        let function = FunctionCall {
            name: name.into(),
            arguments: arguments.into(),
            extra: Map::new(),
        };
        Self {
            id: id.into(),
            kind: function_kind(),
            function,
            extra: Map::new(),
        }
    }
}

fn function_kind() -> String {
    "function".to_owned()
}

/// A derived untagged enum would say "did not match any variant"; this says what is allowed.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_list(
            deserializer,
            "a string or a list of content parts",
            Self::Text,
            Self::Parts,
        )
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_list(deserializer, "a string or a list of strings", Self::One, Self::Many)
    }
}

fn text_or_list<'de, D: Deserializer<'de>, I: Deserialize<'de>, T>(
    deserializer: D,
    expected: &'static str,
    text: fn(String) -> T,
    list: fn(Vec<I>) -> T,
) -> Result<T, D::Error> {
    struct TextOrList<T, I> {
        expected: &'static str,
        text: fn(String) -> T,
        list: fn(Vec<I>) -> T,
    }

    impl<'de, T, I: Deserialize<'de>> Visitor<'de> for TextOrList<T, I> {
        type Value = T;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str(self.expected)
        }

        fn visit_str<E>(self, value: &str) -> Result<T, E> {
            Ok((self.text)(value.to_owned()))
        }

        fn visit_string<E>(self, value: String) -> Result<T, E> {
            Ok((self.text)(value))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(items)).map(self.list)
        }
    }

    deserializer.deserialize_any(TextOrList { expected, text, list })
}
