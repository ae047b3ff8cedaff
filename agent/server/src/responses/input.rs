//! The items of a request's input, and the messages that they amount to.

use rockbot_llm::{
    REASONING_DETAILS,
    chat::{Content, Message, ToolCall},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Value, json};

use super::{object::new_id, request::invalid};
use crate::error::ApiError;

/// What stands between two paragraphs of what a model thought.
const PARAGRAPH: &str = "\n\n";

/// Input of a request: one text of the user, or items.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Text(String),
    Items(Vec<Value>),
}

/// A derived untagged enum would say "did not match any variant"; this says what is allowed.
impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(items) => Ok(Self::Items(items)),
            _ => Err(D::Error::custom("expected a string or a list of items")),
        }
    }
}

#[derive(Deserialize)]
struct MessageItem {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
struct FunctionCallItem {
    call_id: String,
    name: String,
    arguments: String,
    /// What a provider wants back with the call. Other fields are those of SDKs, and no provider knows them.
    #[serde(default)]
    extra_content: Option<Value>,
}

#[derive(Deserialize)]
struct FunctionCallOutputItem {
    call_id: String,
    output: Content,
}

#[derive(Deserialize)]
struct ReasoningItem {
    #[serde(default)]
    summary: Vec<Value>,
    #[serde(default)]
    content: Option<Vec<Value>>,
    #[serde(default)]
    encrypted_content: Option<String>,
}

impl Input {
    /// The input as a list of items that each have a type and an identity.
    pub(super) fn into_items(self) -> Vec<Value> {
        let items = match self {
            Self::Text(text) => vec![json!({ "role": "user", "content": text })],
            Self::Items(items) => items,
        };
        items.into_iter().map(identified).collect()
    }
}

fn identified(mut item: Value) -> Value {
    if let Value::Object(fields) = &mut item {
        let kind = fields.entry("type").or_insert_with(|| json!("message"));
        let prefix = match kind.as_str() {
            Some("function_call") => "fc",
            Some("function_call_output") => "fco",
            Some("reasoning") => "rs",
            Some("image_generation_call") => "ig",
            _ => "msg",
        };
        if fields.get("id").is_none_or(Value::is_null) {
            fields.insert("id".to_owned(), new_id(prefix).into());
        }
        if let (Some(Value::String(text)), "msg") = (fields.get("content"), prefix) {
            let is_answer = fields.get("role").is_some_and(|role| role == "assistant");
            let part = if is_answer {
                json!({ "type": "output_text", "text": text, "annotations": [] })
            } else {
                json!({ "type": "input_text", "text": text })
            };
            fields.insert("content".to_owned(), json!([part]));
        }
    }
    item
}

/// The messages of `items`, as chat completions have them: what a model thought, said and called in one go is one message.
pub(super) fn messages(items: &[Value]) -> Result<Vec<Message>, ApiError> {
    let mut all = Messages::default();
    for (index, item) in items.iter().enumerate() {
        all.add(item, &format!("input[{index}]"))?;
    }
    Ok(all.finish())
}

#[derive(Default)]
struct Messages {
    complete: Vec<Message>,
    /// The message that the model is still at.
    open: Option<Message>,
}

impl Messages {
    fn add(&mut self, item: &Value, path: &str) -> Result<(), ApiError> {
        match item["type"].as_str() {
            Some("message") => {
                let MessageItem { role, content } = read(item, path)?;
                self.message(role, contents(content, &format!("{path}.content"))?, path)
            }
            Some("function_call") => {
                let FunctionCallItem {
                    call_id,
                    name,
                    arguments,
                    extra_content,
                } = read(item, path)?;
                let mut call = ToolCall::function(call_id, name, arguments);
                call.extra
                    .extend(extra_content.map(|content| ("extra_content".to_owned(), content)));
                self.open().tool_calls.get_or_insert_default().push(call);
                Ok(())
            }
            Some("function_call_output") => {
                let FunctionCallOutputItem { call_id, output } = read(item, path)?;
                let content = contents(output, &format!("{path}.output"))?;
                self.close();
                self.complete.push(Message {
                    content: Some(content),
                    ..Message::tool_result(&call_id, "")
                });
                Ok(())
            }
            Some("reasoning") => {
                self.reasoning(read(item, path)?);
                Ok(())
            }
            // Providers take no images in what a model has said.
            Some("image_generation_call") => Ok(()),
            other => Err(invalid(
                format!("{path}.type"),
                &format!(
                    "is {}; allowed are message, function_call, function_call_output, reasoning and image_generation_call",
                    other.map_or_else(|| item["type"].to_string(), |other| format!("{other:?}"))
                ),
            )),
        }
    }

    fn message(&mut self, role: String, content: Content, path: &str) -> Result<(), ApiError> {
        match &*role {
            "assistant" => self.said(content),
            "user" | "system" | "developer" => {
                self.close();
                self.complete.push(Message {
                    content: Some(content),
                    ..Message::text(&role, "")
                });
            }
            _ => {
                let why = format!("is {role:?}; allowed are user, assistant, system and developer");
                return Err(invalid(format!("{path}.role"), &why));
            }
        }
        Ok(())
    }

    /// What a model says is a message of its own, unless it has made calls: their results must come right behind them,
    /// so what it says before those is in the same message.
    fn said(&mut self, content: Content) {
        self.close_if_said();
        let open = self.open();
        open.content = Some(match open.content.take() {
            Some(before) => joined(before, content),
            None => content,
        });
    }

    /// Ends a message that has its text, unless its calls wait for their results.
    fn close_if_said(&mut self) {
        if !self.calls_wait() && self.open().content.is_some() {
            self.close();
        }
    }

    /// Whether the model has made calls whose results have not come.
    fn calls_wait(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.tool_calls.is_some())
    }

    /// What a model thought belongs to what it says next, or to the calls that it has made; signatures alone belong to
    /// what it has just said or called.
    fn reasoning(&mut self, item: ReasoningItem) {
        let texts = item.summary.iter().chain(item.content.iter().flatten());
        let texts: Vec<_> = texts.filter_map(|part| part["text"].as_str()).collect();
        if !texts.is_empty() {
            self.close_if_said();
            let thoughts = self
                .open()
                .extra
                .entry("reasoning_content")
                .or_insert_with(|| "".into());
            if let Value::String(thoughts) = thoughts {
                // A summary is a paragraph; a content goes on where the model was interrupted.
                if !thoughts.is_empty() && !item.summary.is_empty() {
                    thoughts.push_str(PARAGRAPH);
                }
                thoughts.push_str(&texts.join(PARAGRAPH));
            }
        }
        // What is not ours is another provider's, and nobody here could read it.
        let details = item
            .encrypted_content
            .as_deref()
            .map(serde_json::from_str::<Vec<Value>>);
        if let Some(Ok(details)) = details {
            let known = self.open().extra.entry(REASONING_DETAILS).or_insert_with(|| json!([]));
            known
                .as_array_mut()
                .into_iter()
                .for_each(|known| known.extend(details.iter().cloned()));
        }
    }

    fn open(&mut self) -> &mut Message {
        self.open.get_or_insert_with(|| Message {
            content: None,
            ..Message::text("assistant", "")
        })
    }

    /// Thoughts that led to nothing are no message.
    fn close(&mut self) {
        let open = self.open.take();
        self.complete
            .extend(open.filter(|open| open.content.is_some() || open.tool_calls.is_some()));
    }

    fn finish(mut self) -> Vec<Message> {
        self.close();
        self.complete
    }
}

/// Both contents as one.
fn joined(before: Content, after: Content) -> Content {
    let parts = |content| match content {
        Content::Text(text) => vec![json!({ "type": "text", "text": text })],
        Content::Parts(parts) => parts,
    };
    match (before, after) {
        (Content::Text(before), Content::Text(after)) => Content::Text(before + &after),
        (before, after) => Content::Parts([parts(before), parts(after)].concat()),
    }
}

/// Content of a message, with parts as chat completions have them; a single text is a text.
fn contents(content: Content, path: &str) -> Result<Content, ApiError> {
    let Content::Parts(parts) = content else {
        return Ok(content);
    };
    let parts = parts.iter().enumerate();
    let parts: Vec<_> = parts
        .map(|(index, part)| self::part(part, &format!("{path}[{index}]")))
        .collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [only] if only["type"] == "text" => Ok(Content::Text(only["text"].as_str().unwrap_or_default().to_owned())),
        _ => Ok(Content::Parts(parts)),
    }
}

fn part(part: &Value, path: &str) -> Result<Value, ApiError> {
    let text = |field: &str| {
        part[field]
            .as_str()
            .ok_or_else(|| invalid(format!("{path}.{field}"), "must be a string"))
    };
    match part["type"].as_str() {
        Some("input_text" | "output_text" | "text") => Ok(json!({ "type": "text", "text": text("text")? })),
        Some("refusal") => Ok(json!({ "type": "refusal", "refusal": text("refusal")? })),
        Some("input_image") => {
            let url = part["image_url"].as_str().ok_or_else(|| {
                invalid(
                    format!("{path}.image_url"),
                    "must be a URL; images that were uploaded elsewhere are not known here",
                )
            })?;
            let mut image = json!({ "url": url });
            if let Some(detail) = part["detail"].as_str() {
                image["detail"] = detail.into();
            }
            Ok(json!({ "type": "image_url", "image_url": image }))
        }
        Some("input_file") => {
            let given = |field: &&str| part[*field].is_string();
            let fields = ["file_data", "file_url", "file_id", "filename"]
                .into_iter()
                .filter(given);
            let file: Map<_, _> = fields.map(|field| (field.to_owned(), part[field].clone())).collect();
            Ok(json!({ "type": "file", "file": file }))
        }
        Some("input_audio") => Ok(part.clone()),
        _ => Err(invalid(
            format!("{path}.type"),
            &format!(
                "is {}; allowed are input_text, input_image, input_file, input_audio, output_text and refusal",
                part["type"]
            ),
        )),
    }
}

/// Reads `value`; the error names the field below `path`.
pub(super) fn read<T: DeserializeOwned>(value: &Value, path: &str) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let path = if field == "." {
            path.to_owned()
        } else {
            format!("{path}.{field}")
        };
        invalid(path, &error.into_inner().to_string())
    })
}
