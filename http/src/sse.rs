//! Server-sent events.

use axum::response::sse::Event;
use serde::Serialize;

/// `event` with `data` as JSON. Written as a whole: an event that is handed JSON piece by piece looks for the ends of lines
/// in each, and that costs more than all the writing. The data is empty where it cannot become JSON.
pub fn with_json(event: Event, data: &impl Serialize) -> Event {
    event.data(serde_json::to_string(data).unwrap_or_default())
}
