//! Memory for the hidden parts of turns, until their clients come back with the results of their own tools.
//!
//! It is bounded in bytes and in time, and it belongs to one agent in one process. A client that comes back to another
//! replica, or later than that, is still answered: the model then sees the client's calls alone, and may call the
//! agent's tools again. The key is the identity of a call that the client has seen. The agent makes these identities
//! at random, so that nobody can ask for the results of somebody else.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rockbot_llm::chat::Message;
use tracing::warn;

use crate::turn::Hidden;

/// How long a client may take.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// What all turns together may occupy, as JSON.
const CAPACITY: usize = 16 << 20;

/// Hidden parts by the identities of the calls that their clients have seen.
#[derive(Default)]
pub(crate) struct Kept {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    messages: HashMap<String, Arc<[Message]>>,
    /// Oldest first.
    turns: VecDeque<KeptTurn>,
    bytes: usize,
}

struct KeptTurn {
    since: Instant,
    bytes: usize,
    call_ids: Vec<String>,
}

impl Kept {
    /// Keeps `hidden`, at the price of the oldest when there is no room.
    pub(crate) fn keep(&self, hidden: Hidden, now: Instant) {
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
        for id in &hidden.call_ids {
            state.messages.insert(id.clone(), Arc::clone(&hidden.messages));
        }
        state.bytes += bytes;
        state.turns.push_back(KeptTurn {
            since: now,
            bytes,
            call_ids: hidden.call_ids,
        });
    }

    /// The messages of the turn in which the client has seen the call `id`. They stay: a client may ask twice.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<[Message]>> {
        self.lock().messages.get(id).cloned()
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
            for id in oldest.call_ids {
                self.messages.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(id: &str, text: String) -> Hidden {
        Hidden {
            call_ids: vec![id.to_owned()],
            messages: [Message::text("tool", text)].into(),
        }
    }

    #[test]
    fn s8_the_oldest_make_room_and_time_passes() {
        let (kept, start) = (Kept::default(), Instant::now());
        kept.keep(hidden("a", "x".repeat(CAPACITY / 2)), start);
        kept.keep(hidden("b", "x".repeat(CAPACITY / 3)), start);
        assert!(kept.find("a").is_some() && kept.find("b").is_some());
        kept.keep(hidden("c", "x".repeat(CAPACITY / 2)), start);
        assert!(kept.find("a").is_none(), "the oldest makes room");
        assert!(kept.find("b").is_some() && kept.find("c").is_some());
        kept.keep(hidden("d", "x".repeat(CAPACITY + 1)), start);
        assert!(
            kept.find("d").is_none() && kept.find("b").is_some(),
            "what never fits evicts nobody"
        );
        kept.keep(hidden("e", String::new()), start + LIFETIME + Duration::from_secs(1));
        assert!(kept.find("b").is_none() && kept.find("c").is_none() && kept.find("e").is_some());
    }
}
