//! From the data of one server-sent event to [`Event`]s.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{FORMAT, refusal};
use crate::{
    Event, ModelError, ToolCallDelta, Usage,
    reasoning::{self, Detail, Kind},
    refusal::Meaning,
    wire::{self, null_is_default},
};

/// Reads the events of one answer.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Blocks that are being written, by their index.
    blocks: BTreeMap<u32, Block>,
    calls: u32,
    reasonings: u32,
    usage: Tokens,
    finished: bool,
    done: bool,
}

/// A block, as far as its end depends on its beginning.
#[derive(Debug)]
enum Block {
    Thinking {
        text: String,
        signature: String,
    },
    Call {
        position: u32,
        input: Map<String, Value>,
        wrote: bool,
    },
    /// Tools that the provider runs itself, and whatever it invents.
    Other {
        block: Value,
        input: String,
    },
}

impl wire::Decode for Decoder {
    fn read(&mut self, data: &str, events: &mut VecDeque<Event>) -> Result<(), ModelError> {
        match serde_json::from_str(data).map_err(|error| wire::garbage(&error))? {
            Data::MessageStart { message } => {
                events.push_back(Event::Role("assistant".to_owned()));
                self.count(message.usage, events);
            }
            Data::ContentBlockStart { index, content_block } => self.start(index, content_block, events),
            Data::ContentBlockDelta { index, delta } => self.delta(index, delta, events),
            Data::ContentBlockStop { index } => self.stop(index, events),
            Data::MessageDelta { delta, usage } => {
                if let Some(reason) = delta.stop_reason {
                    self.finished = true;
                    events.push_back(Event::Finish(finish(&reason).to_owned()));
                }
                self.count(usage, events);
            }
            Data::MessageStop => {
                self.done = true;
            }
            Data::Error { error } => {
                let mut refusal = refusal(&error);
                refusal.meaning.get_or_insert(Meaning::Overloaded);
                return Err(refusal.into_error(None));
            }
            Data::Other => {}
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn end(&mut self, _: &mut VecDeque<Event>) -> Result<(), ModelError> {
        if self.finished { Ok(()) } else { Err(wire::cut()) }
    }
}

impl Decoder {
    /// What was read is counted when the answer begins, what was written when it ends.
    fn count(&mut self, later: Option<Tokens>, events: &mut VecDeque<Event>) {
        if let Some(later) = later {
            self.usage.update(later);
            events.push_back(Event::Usage(self.usage.to_usage()));
        }
    }

    fn start(&mut self, index: u32, block: Start, events: &mut VecDeque<Event>) {
        let block = match block {
            Start::Text { text } => {
                events.extend((!text.is_empty()).then_some(Event::Content(text)));
                return;
            }
            Start::Thinking {
                thinking: text,
                signature,
            } => Block::Thinking { text, signature },
            Start::RedactedThinking { data } => {
                let kind = Kind::Encrypted { data };
                events.push_back(self.reasoning(kind));
                return;
            }
            Start::ToolUse { id, name, input } => {
                let position = self.calls;
                self.calls += 1;
                events.push_back(Event::ToolCall(ToolCallDelta {
                    index: position,
                    id: Some(id),
                    name: Some(name),
                    ..ToolCallDelta::default()
                }));
                Block::Call {
                    position,
                    input,
                    wrote: false,
                }
            }
            Start::Other(block) => Block::Other {
                block,
                input: String::new(),
            },
        };
        self.blocks.insert(index, block);
    }

    fn delta(&mut self, index: u32, delta: Delta, events: &mut VecDeque<Event>) {
        match (delta, self.blocks.get_mut(&index)) {
            (Delta::Text { text }, _) => events.push_back(Event::Content(text)),
            (Delta::Thinking { thinking }, block) => {
                if let Some(Block::Thinking { text, .. }) = block {
                    text.push_str(&thinking);
                }
                events.push_back(Event::Reasoning(thinking));
            }
            (Delta::Signature { signature: more }, Some(Block::Thinking { signature, .. })) => {
                signature.push_str(&more);
            }
            (Delta::InputJson { partial_json }, Some(Block::Call { position, wrote, .. })) => {
                if !partial_json.is_empty() {
                    *wrote = true;
                    events.push_back(fragment(*position, partial_json));
                }
            }
            (Delta::InputJson { partial_json }, Some(Block::Other { input, .. })) => input.push_str(&partial_json),
            (Delta::Citations { citation }, _) => events.push_back(extra("citations", citation)),
            (_, _) => {}
        }
    }

    fn stop(&mut self, index: u32, events: &mut VecDeque<Event>) {
        match self.blocks.remove(&index) {
            Some(Block::Thinking { text, signature }) if !signature.is_empty() => {
                let signature = Some(signature);
                events.push_back(self.reasoning(Kind::Text { text, signature }));
            }
            // A call without arguments, or with all of them at its start.
            Some(Block::Call {
                position,
                input,
                wrote: false,
            }) => {
                events.push_back(fragment(position, Value::Object(input).to_string()));
            }
            // As it came, with the input that came after it.
            Some(Block::Other { mut block, input }) => {
                if let (Some(block), Ok(input)) = (block.as_object_mut(), serde_json::from_str::<Value>(&input)) {
                    block.insert("input".to_owned(), input);
                }
                events.push_back(extra("content_blocks", block));
            }
            _ => {}
        }
    }

    fn reasoning(&mut self, kind: Kind) -> Event {
        let index = self.reasonings;
        self.reasonings += 1;
        let format = FORMAT.to_owned();
        reasoning::event(Detail { kind, format, index })
    }
}

fn fragment(index: u32, arguments: String) -> Event {
    Event::ToolCall(ToolCallDelta {
        index,
        arguments,
        ..ToolCallDelta::default()
    })
}

fn extra(name: &str, item: Value) -> Event {
    Event::Extra(Map::from_iter([(name.to_owned(), Value::Array(vec![item]))]))
}

/// The reason in OpenAI's words.
fn finish(reason: &str) -> &'static str {
    match reason {
        // A paused turn, too, is less than the whole answer: the provider's own tools took too long.
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Data {
    MessageStart {
        message: MessageStart,
    },
    ContentBlockStart {
        index: u32,
        content_block: Start,
    },
    ContentBlockDelta {
        index: u32,
        delta: Delta,
    },
    ContentBlockStop {
        index: u32,
    },
    MessageDelta {
        #[serde(default, deserialize_with = "null_is_default")]
        delta: MessageDelta,
        #[serde(default)]
        usage: Option<Tokens>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, and events of the future: the protocol asks to skip them.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageStart {
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Default, Deserialize)]
struct MessageDelta {
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Start {
    Text {
        #[serde(default, deserialize_with = "null_is_default")]
        text: String,
    },
    Thinking {
        #[serde(default, deserialize_with = "null_is_default")]
        thinking: String,
        #[serde(default, deserialize_with = "null_is_default")]
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default, deserialize_with = "null_is_default")]
        input: Map<String, Value>,
    },
    #[serde(untagged)]
    Other(Value),
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "citations_delta")]
    Citations { citation: Value },
    #[serde(other)]
    Other,
}

/// Tokens as Anthropic counts them: those that a cache spared are not in `input_tokens`.
#[derive(Debug, Default, Deserialize)]
struct Tokens {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    /// How often tools of the provider's own ran, which costs money.
    server_tool_use: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Tokens {
    /// Later counts are totals, not additions.
    fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
        self.server_tool_use = later.server_tool_use.or(self.server_tool_use.take());
    }

    fn to_usage(&self) -> Usage {
        let read = self.cache_read_input_tokens.unwrap_or_default();
        let written = self.cache_creation_input_tokens.unwrap_or_default();
        let prompt = self.input_tokens.unwrap_or_default() + read + written;
        let mut usage = Usage::new(prompt, self.output_tokens.unwrap_or_default());
        if read + written > 0 {
            let details = json!({ "cached_tokens": read, "cache_write_tokens": written });
            usage.extra.insert("prompt_tokens_details".to_owned(), details);
        }
        if let Some(thinking) = self.output_tokens_details.and_then(|details| details.thinking_tokens) {
            let details = json!({ "reasoning_tokens": thinking });
            usage.extra.insert("completion_tokens_details".to_owned(), details);
        }
        let ran = self.server_tool_use.clone();
        usage.extra.extend(ran.map(|ran| ("server_tool_use".to_owned(), ran)));
        usage
    }
}
