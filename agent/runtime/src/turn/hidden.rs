//! The part of a turn that its client never sees, and how it gets back into the client's next request.
//!
//! A turn that ends with calls for the client may have run tools of the agent before or beside them. The client's next
//! request carries its own calls and their results only; without the rest the model would have forgotten what it knew.
//!
//! A turn that ends with a question to a human is the same: the client has seen the question alone, and its next message
//! is what the human answers. In what the model sees, it is the result of the handoff.

use std::collections::HashSet;

use rockbot_llm::chat::{Content, Message, ToolCall};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trail;

/// Field of a message by which a client learns that the turn waits for a human. A client that keeps it in the message
/// makes sure that the turn is recognised.
pub const HANDOFF: &str = "handoff";

/// Letters and digits of the longest identity that the agent makes.
const LONGEST_ID: usize = 24;

/// The messages of a turn that goes on with the client's next request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hidden {
    /// Identities of the calls that the client sees; its next request carries them.
    pub call_ids: Vec<String>,
    /// All messages of the turn: they stand in for the one that the client has seen.
    pub messages: Vec<Message>,
    /// Identities of the handoffs whose result is what a human answers.
    pub awaited: Vec<String>,
}

impl Hidden {
    /// `None` when the client has seen all there was.
    pub(super) fn of(messages: &[Message], client_tools: &HashSet<String>) -> Option<Self> {
        let shown = |call: &&ToolCall| client_tools.contains(&call.function.name);
        let call_ids = messages
            .iter()
            .flat_map(Message::calls)
            .filter(shown)
            .map(|call| call.id.clone())
            .collect();
        (messages.len() > 1).then(|| Self {
            call_ids,
            messages: messages.into(),
            awaited: Vec::new(),
        })
    }

    /// Name of the handoff that asks the human.
    pub fn asks(&self) -> Option<&str> {
        let first = self.awaited.first()?;
        let mut calls = self.messages.iter().flat_map(Message::calls);
        let asks = calls.find(|call| call.id == *first)?;
        Some(&asks.function.name)
    }

    /// The messages, with what the human has answered.
    fn answered(&self, answer: &Message) -> Vec<Message> {
        let mut messages = self.messages.clone();
        for message in &mut messages {
            if message
                .tool_call_id
                .as_ref()
                .is_some_and(|id| self.awaited.contains(id))
            {
                message.content = Some(Content::Text(result(&message.plain_text(), answer)));
            }
        }
        if has_more_than_text(answer) {
            messages.push(answer.clone());
        }
        messages
    }
}

/// The result of a handoff, whose words so far are the question, with those of the human instead.
fn result(asked: &str, answer: &Message) -> String {
    let answer = answer.plain_text();
    match serde_json::from_str(asked) {
        Ok(Value::Object(mut result)) => {
            result.insert("result".to_owned(), answer.into());
            Value::Object(result).to_string()
        }
        _ => answer,
    }
}

/// Results of tools are texts: what else a human sends stays a message of its own.
fn has_more_than_text(message: &Message) -> bool {
    match &message.content {
        Some(Content::Parts(parts)) => parts.iter().any(|part| part["type"] != "text"),
        Some(Content::Text(_)) | None => false,
    }
}

/// The keys by which the turns behind `messages` may be found: see [`restore`].
pub fn keys<'a>(messages: impl IntoIterator<Item = &'a Message>, mut trail: Option<Trail>) -> Vec<String> {
    let keys = messages.into_iter().flat_map(|message| {
        follow(&mut trail, message);
        keys_of(message, trail.as_ref())
    });
    keys.collect()
}

/// The keys of the turn that ended with `message`, the surest first: the identity of its first call, the identity of its
/// handoff, and what `trail` says of the conversation up to it.
fn keys_of(message: &Message, trail: Option<&Trail>) -> Vec<String> {
    if message.role != "assistant" {
        return Vec::new();
    }
    let call = message.calls().first().map(|call| &*call.id);
    let handoff = message.extra.get(HANDOFF).and_then(|handoff| handoff["id"].as_str());
    // Others are not the agent's own.
    let is_own = |id: &&str| id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let ids = call.into_iter().chain(handoff).filter(is_own).map(str::to_owned);
    ids.chain(trail.map(Trail::key)).collect()
}

/// Puts hidden messages back into a conversation. `find` looks up a turn by one of its [`keys`]. A turn that is not found
/// leaves the conversation as the client has it.
pub fn restore<'a>(
    messages: Vec<Message>,
    trail: &mut Option<Trail>,
    find: impl Fn(&str) -> Option<&'a Hidden>,
) -> Vec<Message> {
    let mut restored = Vec::with_capacity(messages.len());
    let mut messages = messages.into_iter().peekable();
    while let Some(mut message) = messages.next() {
        follow(trail, &message);
        let hidden = keys_of(&message, trail.as_ref()).iter().find_map(|key| find(key));
        // No provider knows the field, and some refuse what they do not know.
        message.extra.shift_remove(HANDOFF);
        match hidden {
            None => restored.push(message),
            Some(hidden) if hidden.awaited.is_empty() => restored.extend(hidden.messages.iter().cloned()),
            Some(hidden) => match messages.next_if(|next| next.role == "user") {
                Some(answer) => {
                    follow(trail, &answer);
                    restored.extend(hidden.answered(&answer));
                }
                None => restored.push(message),
            },
        }
    }
    restored
}

fn follow(trail: &mut Option<Trail>, message: &Message) {
    if let Some(trail) = trail {
        trail.add(message);
    }
}
