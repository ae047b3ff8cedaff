//! What is special about memory: there is little of it.

use std::{sync::Arc, time::Duration};

use rockbot_agent_config::StorageConfig;
use rockbot_agent_store::{Ephemeral, Store, StoreError, Stores};

use crate::conformance;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

#[tokio::test]
async fn memory_is_a_store() {
    conformance::check(Arc::new(Ephemeral::default())).await;
}

#[tokio::test]
async fn what_has_a_lifetime_makes_room_and_what_is_to_stay_does_not() {
    let store = Store::new(Arc::new(Ephemeral::with_capacity(1000)), "me".into());
    let space = store.space("x");
    let text = "x".repeat(200);
    for name in ["stays", "a", "b", "c"] {
        let lifetime = HOUR.filter(|_| name != "stays");
        space.put(name, &text, lifetime).await.unwrap();
    }
    space.put("a", &text, HOUR).await.unwrap();
    space.put("d", &text, HOUR).await.unwrap();
    let names: Vec<_> = space
        .list::<String>("", 9)
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        ["a", "c", "d", "stays"],
        "the one that was written first has gone"
    );

    for name in ["e", "f", "g"] {
        space.put(name, &text, None).await.unwrap();
    }
    let full = space.put("h", &text, None).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    assert!(store.is_failing());
    space.put("g", &"smaller", None).await.unwrap();
    assert!(!store.is_failing(), "it works again");
    assert_eq!(
        space.list::<String>("", 9).await.unwrap().len(),
        4,
        "all others had to go"
    );
}

#[tokio::test]
async fn an_agent_that_replaces_another_finds_what_that_one_kept() {
    let stores = Stores::default();
    let open = |name| stores.open(&StorageConfig::Ephemeral, name);
    let (before, other) = (open("a"), open("b"));
    before.space("x").put("k", &1, None).await.unwrap();
    let after = open("a");
    drop(before);
    assert_eq!(after.space("x").get("k").await, Ok(Some(1)));
    assert_eq!(other.space("x").get::<u64>("k").await, Ok(None), "agents share nothing");
    drop((after, other));
    assert_eq!(
        open("a").space("x").get::<u64>("k").await,
        Ok(None),
        "nobody was there any more"
    );
}
