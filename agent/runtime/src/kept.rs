//! Memory for the hidden parts of turns, until their clients come back with the results of their own tools, or with what
//! a human answers.
//!
//! It is bounded in bytes and in time, and it belongs to one agent in one process. A client that comes back to another
//! replica, or later than that, is still answered: the model then sees what the client has seen, and may call the
//! agent's tools again.
//!
//! A key is the identity of a call or of a handoff that the client has seen. The agent makes these identities at random,
//! so that nobody can ask for the results of somebody else. A question to a human has a second key, its whole
//! conversation, for clients that keep nothing but words. Two conversations may be the same to the letter; then neither is
//! found by it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::turn::Hidden;

/// How long a client may take.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// What all turns together may occupy, as JSON.
const CAPACITY: usize = 16 << 20;

/// Hidden parts by their keys.
#[derive(Default)]
pub(crate) struct Kept {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A key that several turns have belongs to none of them.
    by_key: HashMap<String, Option<Arc<Hidden>>>,
    /// Oldest first.
    turns: VecDeque<KeptTurn>,
    bytes: usize,
}

struct KeptTurn {
    since: Instant,
    bytes: usize,
    keys: Vec<String>,
}

impl Kept {
    /// Keeps `hidden` under `keys`, at the price of the oldest when there is no room.
    pub(crate) fn keep(&self, keys: Vec<String>, hidden: Hidden, now: Instant) {
        let bytes = serde_json::to_vec(&*hidden.messages).map_or(0, |json| json.len());
        if bytes > CAPACITY {
            warn!(
                bytes,
                "the results of a turn are too large to be kept for the client's next request"
            );
            return;
        }
        let mut state = self.lock();
        state.make_room(bytes, now);
        let hidden = Arc::new(hidden);
        for key in &keys {
            state
                .by_key
                .entry(key.clone())
                .and_modify(|other| *other = None)
                .or_insert_with(|| Some(Arc::clone(&hidden)));
        }
        state.bytes += bytes;
        state.turns.push_back(KeptTurn {
            since: now,
            bytes,
            keys,
        });
    }

    /// The turn with this key. It stays: a client may ask twice.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Hidden>> {
        self.lock().by_key.get(key).cloned().flatten()
    }

    /// Nothing that can panic runs under the lock, so a poisoned state is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, bytes: usize, now: Instant) {
        let outlived = |turn: &KeptTurn| now.duration_since(turn.since) > LIFETIME;
        while self
            .turns
            .front()
            .is_some_and(|oldest| self.bytes + bytes > CAPACITY || outlived(oldest))
        {
            let Some(oldest) = self.turns.pop_front() else { return };
            self.bytes -= oldest.bytes;
            for key in oldest.keys {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rockbot_llm::chat::Message;

    use super::*;

    fn keep(kept: &Kept, key: &str, text: String, now: Instant) {
        let hidden = Hidden {
            call_ids: Vec::new(),
            messages: [Message::text("tool", text)].into(),
            awaited: Vec::new(),
        };
        kept.keep(vec![key.to_owned()], hidden, now);
    }

    #[test]
    fn s8_the_oldest_make_room_and_time_passes() {
        let (kept, start) = (Kept::default(), Instant::now());
        keep(&kept, "a", "x".repeat(CAPACITY / 2), start);
        keep(&kept, "b", "x".repeat(CAPACITY / 3), start);
        assert!(kept.find("a").is_some() && kept.find("b").is_some());
        keep(&kept, "c", "x".repeat(CAPACITY / 2), start);
        assert!(kept.find("a").is_none(), "the oldest makes room");
        assert!(kept.find("b").is_some() && kept.find("c").is_some());
        keep(&kept, "d", "x".repeat(CAPACITY + 1), start);
        assert!(
            kept.find("d").is_none() && kept.find("b").is_some(),
            "what never fits evicts nobody"
        );
        keep(&kept, "e", String::new(), start + LIFETIME + Duration::from_secs(1));
        assert!(kept.find("b").is_none() && kept.find("c").is_none() && kept.find("e").is_some());
    }

    #[test]
    fn s15_a_key_that_two_turns_have_belongs_to_neither() {
        let (kept, now) = (Kept::default(), Instant::now());
        keep(&kept, "same", "one".to_owned(), now);
        keep(&kept, "same", "two".to_owned(), now);
        assert!(kept.find("same").is_none());
        keep(&kept, "same", "three".to_owned(), now);
        assert!(kept.find("same").is_none());
    }
}
