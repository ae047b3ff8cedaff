//! From the data of one server-sent event to [`Event`]s.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{FORMAT, refusal};
use crate::{
    Event, ModelError, ModelErrorKind, ToolCallDelta, Usage,
    reasoning::{self, Detail, Kind},
    refusal::Meaning,
    wire::{self, null_is_default},
};

/// Reads the responses of one answer.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    started: bool,
    calls: u32,
    finished: bool,
}

impl wire::Decode for Decoder {
    fn read(&mut self, data: &str, events: &mut VecDeque<Event>) -> Result<(), ModelError> {
        let mut response: Response = serde_json::from_str(data).map_err(|error| wire::garbage(&error))?;
        let usage = response.usage_metadata.take();
        let read = self.response(response, events);
        // Also what has led to an error has its price.
        events.extend(usage.map(|tokens| Event::Usage(tokens.to_usage())));
        read
    }

    /// Gemini has no last word: the stream ends.
    fn is_done(&self) -> bool {
        false
    }

    fn end(&mut self, _: &mut VecDeque<Event>) -> Result<(), ModelError> {
        if self.finished { Ok(()) } else { Err(wire::cut()) }
    }
}

impl Decoder {
    fn response(&mut self, response: Response, events: &mut VecDeque<Event>) -> Result<(), ModelError> {
        if let Some(error) = response.error {
            let mut refusal = refusal(&error);
            refusal.meaning.get_or_insert(Meaning::Overloaded);
            return Err(refusal.into_error(None));
        }
        if let Some(reason) = response.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            let message = format!("the model provider's content filter refused the request: {reason}");
            return Err(ModelError::new(ModelErrorKind::ContentFilter, message));
        }
        if !std::mem::replace(&mut self.started, true) {
            events.push_back(Event::Role("assistant".to_owned()));
        }
        // Only the first of several candidates is the answer; more are never asked for.
        let Some(candidate) = response.candidates.into_iter().next() else {
            return Ok(());
        };
        for part in candidate.content.unwrap_or_default().parts {
            self.part(part, events);
        }
        for (name, value) in candidate.extra {
            if matches!(&*name, "groundingMetadata" | "citationMetadata" | "urlContextMetadata") {
                events.push_back(Event::Extra(Map::from_iter([(name, value)])));
            }
        }
        if let Some(reason) = candidate.finish_reason {
            self.finished = true;
            events.push_back(Event::Finish(self.finish(&reason)?.to_owned()));
        }
        Ok(())
    }

    fn part(&mut self, part: Part, events: &mut VecDeque<Event>) {
        let Part {
            text,
            thought,
            thought_signature,
            function_call,
            inline_data,
            extra,
        } = part;
        match text.filter(|text| !text.is_empty()) {
            Some(text) if thought => events.push_back(Event::Reasoning(text)),
            Some(text) => events.push_back(Event::Content(text)),
            None => {}
        }
        if let Some(FunctionCall { id, name, args }) = function_call {
            let index = self.calls;
            self.calls += 1;
            events.push_back(Event::ToolCall(ToolCallDelta {
                index,
                id,
                name: Some(name),
                arguments: Value::Object(args).to_string(),
                ..ToolCallDelta::default()
            }));
            let signed = |data| signature(Kind::Encrypted { data }, index);
            events.extend(thought_signature.map(signed));
        } else {
            let text = String::new();
            let signed = |data| {
                signature(
                    Kind::Text {
                        text,
                        signature: Some(data),
                    },
                    0,
                )
            };
            events.extend(thought_signature.map(signed));
        }
        if let Some(InlineData { mime_type, data }) = inline_data {
            let url = format!("data:{mime_type};base64,{data}");
            let image = json!([{ "type": "image_url", "image_url": { "url": url } }]);
            events.push_back(Event::Extra(Map::from_iter([("images".to_owned(), image)])));
        }
        // Code that the provider ran, and whatever it invents: as it came.
        if !extra.is_empty() {
            events.push_back(Event::Extra(extra));
        }
    }

    /// The reason in OpenAI's words.
    fn finish(&self, reason: &str) -> Result<&'static str, ModelError> {
        Ok(match reason {
            "MAX_TOKENS" => "length",
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "LANGUAGE"
            | "MODEL_ARMOR"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => "content_filter",
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE"
            | "MISSING_THOUGHT_SIGNATURE" => {
                return Err(ModelError::new(
                    ModelErrorKind::BadResponse,
                    format!("the model's answer cannot be used, its provider says ({reason}); ask again"),
                ));
            }
            _ if self.calls > 0 => "tool_calls",
            _ => "stop",
        })
    }
}

/// A signature of a call comes back with that call, one of a text with the text.
fn signature(kind: Kind, index: u32) -> Event {
    let format = FORMAT.to_owned();
    reasoning::event(Detail { kind, format, index })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default, deserialize_with = "null_is_default")]
    candidates: Vec<Candidate>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
    #[serde(default)]
    usage_metadata: Option<Tokens>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default, deserialize_with = "null_is_default")]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    thought: bool,
    #[serde(default)]
    thought_signature: Option<String>,
    #[serde(default)]
    function_call: Option<FunctionCall>,
    #[serde(default)]
    inline_data: Option<InlineData>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct FunctionCall {
    #[serde(default)]
    id: Option<String>,
    name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    args: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InlineData {
    mime_type: String,
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    #[serde(default)]
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tokens {
    prompt_token_count: u64,
    tool_use_prompt_token_count: u64,
    cached_content_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
}

impl Tokens {
    /// Gemini counts thoughts apart from the answer; OpenAI counts them in.
    fn to_usage(&self) -> Usage {
        let prompt = self.prompt_token_count + self.tool_use_prompt_token_count;
        let mut usage = Usage::new(prompt, self.candidates_token_count + self.thoughts_token_count);
        let mut add = |field: &str, name: &str, count: u64| {
            if count > 0 {
                usage.extra.insert(field.to_owned(), json!({ name: count }));
            }
        };
        add(
            "prompt_tokens_details",
            "cached_tokens",
            self.cached_content_token_count,
        );
        add(
            "completion_tokens_details",
            "reasoning_tokens",
            self.thoughts_token_count,
        );
        usage
    }
}
