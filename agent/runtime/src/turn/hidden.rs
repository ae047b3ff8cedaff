//! The part of a turn that its client never sees, and how it gets back into the client's next request.
//!
//! A turn that ends with calls for the client may have run tools of the agent before or beside them. The client's next
//! request carries its own calls and their results only; without the rest the model would have forgotten what it knew.

use std::{collections::HashSet, sync::Arc};

use rockbot_llm::chat::{Message, ToolCall};

/// The messages of a turn that ended with calls for the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Hidden {
    /// Identities of the calls that the client sees; its next request carries them.
    pub call_ids: Vec<String>,
    /// All messages of the turn: they stand in for the one that the client has seen.
    pub messages: Arc<[Message]>,
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
        })
    }
}

/// Puts hidden messages back into a conversation. `find` looks up the messages of a turn by the identity of a call.
pub fn restore(messages: Vec<Message>, find: impl Fn(&str) -> Option<Arc<[Message]>>) -> Vec<Message> {
    let mut restored = Vec::with_capacity(messages.len());
    for message in messages {
        match message.calls().iter().find_map(|call| find(&call.id)) {
            Some(hidden) => restored.extend(hidden.iter().cloned()),
            None => restored.push(message),
        }
    }
    restored
}
