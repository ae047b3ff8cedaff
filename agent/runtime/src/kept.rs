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

use rockbot_agent_store::{Space, StoreError};
use tracing::warn;

use crate::turn::Hidden;

/// How long a client may take.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Turns that are looked for at once: a long conversation has thousands of keys, and storage has others to serve.
const AT_ONCE: usize = 64;

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

    /// The turns that have one of `keys`. They stay: a client may ask twice. One that cannot be read is as good as forgotten.
    pub(crate) async fn find(&self, keys: &[String]) -> HashMap<String, Hidden> {
        let mut turns = HashMap::new();
        for keys in keys.chunks(AT_ONCE) {
            let found = self.0.get_many::<Option<Hidden>>(keys.iter().map(String::as_str)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    warn!("what clients have not seen of their turns is not found: {error}");
                    break;
                }
            };
            for (key, hidden) in found {
                match hidden {
                    Ok(hidden) => turns.extend(hidden.map(|hidden| (key, hidden))),
                    Err(error) => warn!("what a client has not seen of a turn is lost: {error}"),
                }
            }
        }
        turns
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
        let found = kept.find(&[key.to_owned(), "unknown".to_owned()]).await;
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

    #[tokio::test]
    async fn s15_a_turn_that_cannot_be_read_is_not_in_the_way_of_others() {
        let kept = kept();
        let keys: Vec<_> = (0..=AT_ONCE).map(|number| format!("key{number}")).collect();
        for key in &keys {
            keep(&kept, key, key).await;
        }
        kept.0.put(&keys[1], &"of another version", None).await.unwrap();
        let found = kept.find(&keys).await;
        assert_eq!(found.len(), AT_ONCE, "all but one, however many they are");
        assert!(!found.contains_key(&keys[1]));
    }
}
