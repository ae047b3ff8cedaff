//! The server-sent events of one response, numbered.

use std::collections::VecDeque;

use axum::response::sse::Event;
use rockbot_http::with_json;
use serde_json::{Map, Value};

/// Events that wait to be written.
pub(super) struct Events {
    written: bool,
    sequence: u64,
    waiting: VecDeque<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            written: true,
            sequence: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl Events {
    /// Those of a response that is not streamed.
    pub(super) fn unwritten() -> Self {
        Self {
            written: false,
            ..Self::default()
        }
    }

    /// Adds an event of the type `kind` with `fields`, an object.
    pub(super) fn add(&mut self, kind: &str, fields: impl FnOnce() -> Value) {
        if !self.written {
            return;
        }
        let mut body = Map::from_iter([
            ("type".to_owned(), kind.into()),
            ("sequence_number".to_owned(), self.sequence.into()),
        ]);
        if let Value::Object(fields) = fields() {
            body.extend(fields);
        }
        self.sequence += 1;
        let event = with_json(Event::default().event(kind), &body);
        self.waiting.push_back(event);
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}
