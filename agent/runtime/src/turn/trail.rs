//! What a conversation is recognised by when its client keeps nothing but the words: who talks, and all that was said.
//!
//! It is a digest, so that whoever does not know the whole conversation cannot name it.

use std::fmt::Write as _;

use rockbot_llm::chat::{Content, Message};
use sha2::{Digest, Sha256};

use crate::RequestContext;

/// A conversation up to some message.
#[derive(Clone, Debug)]
pub struct Trail(Sha256);

impl Trail {
    /// A conversation of whoever asks, in which nothing was said yet.
    pub fn of(asked: &RequestContext) -> Self {
        let RequestContext {
            user_id,
            payment_user_id,
            origin_user_id,
            agent_owner_id,
            scope,
            ..
        } = asked;
        let mut trail = Self(Sha256::new());
        for text in [user_id, payment_user_id, origin_user_id, agent_owner_id, scope] {
            trail.add_text(text);
        }
        trail
    }

    /// `message` was said. Blanks around it do not count: some clients trim them.
    pub fn add(&mut self, message: &Message) {
        self.add_text(&message.role);
        match &message.content {
            Some(Content::Parts(parts)) => parts.iter().for_each(|part| self.add_text(&part.to_string())),
            Some(Content::Text(text)) => self.add_text(text.trim()),
            None => self.add_text(""),
        }
        for call in message.calls() {
            self.add_text(&call.id);
        }
    }

    /// Names the conversation.
    pub fn key(&self) -> String {
        let mut key = "trail ".to_owned();
        for byte in self.0.clone().finalize() {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }

    /// With its length, so that no two sequences of texts are the same.
    fn add_text(&mut self, text: &str) {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
    }
}
