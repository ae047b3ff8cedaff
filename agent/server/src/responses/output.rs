//! The output of a response: deltas of a turn become items, and the events that tell of them. Pure.
//!
//! Thoughts and texts follow each other, each an item of its own. Calls of the client's tools may come in fragments that
//! are mixed with anything, so they stay open until the turn ends.

use rockbot_agent::turn::Delta;
use rockbot_llm::{
    REASONING_DETAILS, ToolCallDelta,
    chat::{Content, Message, ToolCall},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    citations::Citations,
    events::Events,
    item::{Item, ItemStatus, Kind, Part},
    object::new_id,
};

/// The output so far.
#[derive(Default)]
pub(super) struct Output {
    items: Vec<Item>,
    /// The text that grows at the end of the items, if any does.
    open: Option<(Kind, usize)>,
    citations: Citations,
    /// The items of calls, in the order of the calls.
    calls: Vec<usize>,
    /// What providers want back of their reasoning.
    details: Vec<Value>,
    /// Whether clients are given it.
    shows_details: bool,
}

impl Output {
    pub(super) fn new(shows_details: bool) -> Self {
        Self {
            shows_details,
            ..Self::default()
        }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Takes in what the client is to see next.
    pub(super) fn add(&mut self, delta: Delta, events: &mut Events) {
        match delta {
            Delta::Reasoning(text) => self.text(Kind::Reasoning, &text, events),
            Delta::Content(text) => self.text(Kind::Text, &text, events),
            Delta::ToolCall(delta) => self.call(delta, events),
            Delta::Extra(fields) => self.extra(&fields, events),
            Delta::Logprobs(_) | Delta::Origin(_) => {}
        }
    }

    /// Tools of the agent run before the model goes on.
    pub(super) fn interrupt(&mut self, events: &mut Events) {
        self.cite(events);
        self.citations.interrupt();
    }

    /// Ends what is still open.
    pub(super) fn end(&mut self, status: ItemStatus, events: &mut Events) {
        self.close(status, events);
        for index in std::mem::take(&mut self.calls) {
            let item = &mut self.items[index];
            if let Item::FunctionCall {
                id,
                name,
                arguments,
                status: own,
                ..
            } = item
            {
                *own = status;
                events.add(
                    "response.function_call_arguments.done",
                    || json!({ "item_id": id, "output_index": index, "name": name, "arguments": arguments }),
                );
            }
            events.add(
                "response.output_item.done",
                || json!({ "output_index": index, "item": item }),
            );
        }
    }

    /// What was said, as a message of the conversation. Thoughts come with calls alone: nobody asks for them later.
    pub(super) fn message(&self) -> Message {
        let (mut text, mut thoughts, mut calls) = (String::new(), String::new(), Vec::new());
        for item in &self.items {
            match item {
                Item::Reasoning { content, .. } => thoughts.extend(content.iter().map(Part::text)),
                Item::Message { content, .. } => text.extend(content.iter().map(Part::text)),
                Item::FunctionCall {
                    call_id,
                    name,
                    arguments,
                    extra,
                    ..
                } => calls.push(ToolCall {
                    extra: extra.clone(),
                    ..ToolCall::function(call_id, name, arguments)
                }),
                Item::ImageGenerationCall { .. } => {}
            }
        }
        let mut extra = Map::new();
        if !calls.is_empty() && !thoughts.is_empty() {
            extra.insert("reasoning_content".to_owned(), thoughts.into());
        }
        if !calls.is_empty() && !self.details.is_empty() {
            extra.insert(REASONING_DETAILS.to_owned(), self.details.clone().into());
        }
        Message {
            content: (!text.is_empty() || calls.is_empty()).then_some(Content::Text(text)),
            tool_calls: (!calls.is_empty()).then_some(calls),
            extra,
            ..Message::text("assistant", "")
        }
    }

    fn text(&mut self, kind: Kind, more: &str, events: &mut Events) {
        let index = self.open(kind, events);
        let Some((id, content)) = self.items[index].growing() else {
            return;
        };
        if content.is_empty() {
            let part = kind.part();
            events.add("response.content_part.added", || at(id, index, "part", &part));
            content.push(part);
        }
        content.iter_mut().for_each(|part| part.push(more));
        events.add(kind.delta(), || with_logprobs(kind, at(id, index, "delta", &more)));
    }

    /// The item for a text of `kind`: the one that is open, or a new one.
    fn open(&mut self, kind: Kind, events: &mut Events) -> usize {
        if let Some((open, index)) = self.open
            && open == kind
        {
            return index;
        }
        self.close(ItemStatus::Completed, events);
        let (content, status) = (Vec::new(), ItemStatus::InProgress);
        let item = match kind {
            Kind::Reasoning => Item::Reasoning {
                id: new_id("rs"),
                summary: [],
                content,
                encrypted_content: None,
                status,
            },
            Kind::Text | Kind::Refusal => Item::Message {
                id: new_id("msg"),
                role: "assistant",
                content,
                status,
            },
        };
        if kind == Kind::Text {
            self.citations.begin();
        }
        let index = self.push(item, events);
        self.open = Some((kind, index));
        index
    }

    fn close(&mut self, ended: ItemStatus, events: &mut Events) {
        self.cite(events);
        let Some((kind, index)) = self.open.take() else {
            return;
        };
        let item = &mut self.items[index];
        if let Item::Reasoning { status, .. } | Item::Message { status, .. } = item {
            *status = ended;
        }
        if let Some((id, content)) = item.growing() {
            for part in content.iter() {
                events.add(kind.done(), || {
                    with_logprobs(kind, at(id, index, kind.field(), &part.text()))
                });
                events.add("response.content_part.done", || at(id, index, "part", part));
            }
        }
        events.add(
            "response.output_item.done",
            || json!({ "output_index": index, "item": item }),
        );
    }

    /// Gives the text that grows the citations that it has.
    fn cite(&mut self, events: &mut Events) {
        let Some((Kind::Text, index)) = self.open else { return };
        let Some((id, content)) = self.items[index].growing() else {
            return;
        };
        let Some(Part::OutputText { annotations, .. }) = content.first_mut() else {
            return;
        };
        for citation in self.citations.take() {
            let number = annotations.len();
            events.add("response.output_text.annotation.added", || {
                let mut fields = at(id, index, "annotation", &citation);
                fields["annotation_index"] = number.into();
                fields
            });
            annotations.push(citation);
        }
    }

    /// The turn numbers the calls contiguously and names each with its first fragment.
    fn call(&mut self, delta: ToolCallDelta, events: &mut Events) {
        let index = match self.calls.get(delta.index as usize) {
            Some(index) => *index,
            None => {
                self.close(ItemStatus::Completed, events);
                let call = Item::FunctionCall {
                    id: new_id("fc"),
                    call_id: delta.id.unwrap_or_default(),
                    name: delta.name.unwrap_or_default(),
                    arguments: String::new(),
                    status: ItemStatus::InProgress,
                    extra: Map::new(),
                };
                let index = self.push(call, events);
                self.calls.push(index);
                index
            }
        };
        let Item::FunctionCall {
            id, arguments, extra, ..
        } = &mut self.items[index]
        else {
            return;
        };
        extra.extend(delta.extra);
        if !delta.arguments.is_empty() {
            arguments.push_str(&delta.arguments);
            events.add(
                "response.function_call_arguments.delta",
                || json!({ "item_id": id, "output_index": index, "delta": delta.arguments }),
            );
        }
    }

    fn extra(&mut self, fields: &Map<String, Value>, events: &mut Events) {
        if let Some(refusal) = fields.get("refusal").and_then(Value::as_str) {
            self.text(Kind::Refusal, refusal, events);
        }
        self.citations.add(fields);
        let images = fields.get("images").and_then(Value::as_array).into_iter().flatten();
        for url in images.filter_map(|image| image["image_url"]["url"].as_str()) {
            self.image(url, events);
        }
        let Some(details) = fields.get(REASONING_DETAILS).and_then(Value::as_array) else {
            return;
        };
        self.details.extend(details.iter().cloned());
        if self.shows_details {
            let index = self.open(Kind::Reasoning, events);
            if let Item::Reasoning { encrypted_content, .. } = &mut self.items[index] {
                let known = encrypted_content
                    .as_deref()
                    .and_then(|known| serde_json::from_str(known).ok());
                let mut known: Vec<Value> = known.unwrap_or_default();
                known.extend(details.iter().cloned());
                *encrypted_content = Some(Value::Array(known).to_string());
            }
        }
    }

    /// An image that came as a whole, in its URL; clients are promised the image itself, so that another URL is of no use.
    fn image(&mut self, url: &str, events: &mut Events) {
        let data = url
            .strip_prefix("data:image/")
            .and_then(|data| data.split_once(";base64,"));
        let Some((format, data)) = data else { return };
        self.close(ItemStatus::Completed, events);
        let image = Item::ImageGenerationCall {
            id: new_id("ig"),
            status: ItemStatus::InProgress,
            output_format: format.to_owned(),
            result: None,
        };
        let index = self.push(image, events);
        let item = &mut self.items[index];
        if let Item::ImageGenerationCall { id, status, result, .. } = item {
            *status = ItemStatus::Completed;
            *result = Some(data.to_owned());
            events.add(
                "response.image_generation_call.completed",
                || json!({ "item_id": id, "output_index": index }),
            );
        }
        events.add(
            "response.output_item.done",
            || json!({ "output_index": index, "item": item }),
        );
    }

    fn push(&mut self, item: Item, events: &mut Events) -> usize {
        let index = self.items.len();
        events.add(
            "response.output_item.added",
            || json!({ "output_index": index, "item": item }),
        );
        self.items.push(item);
        index
    }
}

/// The fields of an event about the one part of an item.
fn at(item_id: &str, output_index: usize, field: &str, value: &impl Serialize) -> Value {
    json!({ "item_id": item_id, "output_index": output_index, "content_index": 0, field: value })
}

/// OpenAI's SDKs want the list, also where it is empty.
fn with_logprobs(kind: Kind, mut fields: Value) -> Value {
    if kind == Kind::Text {
        fields["logprobs"] = json!([]);
    }
    fields
}
