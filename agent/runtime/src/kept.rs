//! Memory for the hidden parts of turns, until their clients come back with the results of their own tools, or with what
//! a human answers.
//!
//! They are kept where the agent keeps its things, so that they outlive the process and replicas share them as far as
//! that place allows. A client that comes back to where they are not known, or too late, is still answered: the model
//! then sees what the client has seen, and may call the agent's tools again.
//!
//! A key is the identity of a call or of a handoff that the client has seen. The agent makes these identities at random,
//! so that nobody can ask for the results of somebody else. A question to a human has a second key, its whole
//! conversation, for clients that keep nothing but words. Two conversations may be the same to the letter; then neither is
//! found by it.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use rockbot_agent_store::{Space, StoreError};
use tracing::warn;

use crate::turn::Hidden;

/// How long a client may take.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Turns that are looked for at the same time.
const PARALLEL: usize = 16;

/// Hidden parts by their keys.
pub(crate) struct Kept(Space);

impl Kept {
    pub(crate) fn new(space: Space) -> Self {
        Self(space)
    }

    /// Keeps `hidden` under `keys`. An answer is not lost when that cannot be done.
    pub(crate) async fn keep(&self, keys: &[String], hidden: &Hidden) {
        for key in keys {
            if let Err(error) = self.keep_as(key, hidden).await {
                warn!("what the client has not seen of a turn is not kept for its next request: {error}");
                return;
            }
        }
    }

    /// A key that several turns have belongs to none of them.
    async fn keep_as(&self, key: &str, hidden: &Hidden) -> Result<(), StoreError> {
        let lifetime = Some(LIFETIME);
        if self.0.put_if_absent(key, &Some(hidden), lifetime).await? {
            return Ok(());
        }
        self.0.put(key, &None::<Hidden>, lifetime).await
    }

    /// The turns that have one of `keys`. They stay: a client may ask twice.
    pub(crate) async fn find(&self, keys: Vec<String>) -> HashMap<String, Hidden> {
        let found = stream::iter(keys).map(async |key| {
            let found: Option<Option<Hidden>> = self.0.get(&key).await?;
            Ok::<_, StoreError>(found.flatten().map(|hidden| (key, hidden)))
        });
        let found = found.buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await;
        let found = found.inspect_err(|error| warn!("what clients have not seen of their turns is not found: {error}"));
        found.into_iter().flatten().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rockbot_agent_store::{Ephemeral, Store};
    use rockbot_llm::chat::Message;

    use super::*;

    fn kept() -> Kept {
        Kept::new(Store::new(Arc::new(Ephemeral::default()), "me".to_owned()).space("turns"))
    }

    async fn keep(kept: &Kept, key: &str, text: &str) {
        let hidden = Hidden {
            call_ids: Vec::new(),
            messages: vec![Message::text("tool", text)],
            awaited: Vec::new(),
        };
        kept.keep(&[key.to_owned()], &hidden).await;
    }

    async fn found(kept: &Kept, key: &str) -> Option<String> {
        let found = kept.find(vec![key.to_owned(), "unknown".to_owned()]).await;
        assert!(found.len() < 2, "{found:?}");
        found.get(key).map(|hidden| hidden.messages[0].plain_text())
    }

    #[tokio::test(start_paused = true)]
    async fn s8_a_turn_is_remembered_for_an_hour_and_no_longer() {
        let kept = kept();
        keep(&kept, "a", "one").await;
        tokio::time::advance(LIFETIME - Duration::from_secs(1)).await;
        assert_eq!(found(&kept, "a").await.as_deref(), Some("one"));
        assert_eq!(
            found(&kept, "a").await.as_deref(),
            Some("one"),
            "a client may ask twice"
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(found(&kept, "a").await, None);
    }

    #[tokio::test]
    async fn s15_a_key_that_two_turns_have_belongs_to_neither() {
        let kept = kept();
        for text in ["one", "two", "three"] {
            keep(&kept, "same", text).await;
            assert_eq!(found(&kept, "same").await.is_some(), text == "one");
        }
    }
}
