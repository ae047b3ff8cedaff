//! What is special about a file: it outlives the process, and belongs to one at a time.

use std::{fs, sync::Arc};

use rockbot_agent_store::{Backend, Key, Store, StoreError, Volume};

use crate::conformance;

#[tokio::test]
async fn a_file_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    conformance::check(Arc::new(Volume::new(directory.path().join("made/when/needed")))).await;
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Store::new(Arc::new(Volume::new(directory.path().to_owned())), "me".into());
    assert_eq!(open().space("x").get::<u64>("k").await, Ok(None));
    open().space("x").put("k", &"kept", None).await.unwrap();
    assert_eq!(open().space("x").get("k").await, Ok(Some("kept".to_owned())));
}

#[tokio::test]
async fn a_file_that_another_process_has_is_used_as_soon_as_that_one_ends() {
    let directory = tempfile::tempdir().unwrap();
    let key = Key {
        owner: "me",
        kind: "x",
        name: "k",
    };
    let one = Volume::new(directory.path().to_owned());
    one.put(key, b"1", None).await.unwrap();
    let other = Volume::new(directory.path().to_owned());
    let error = other.get(key).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(reason) if reason.contains("store.redb") && reason.contains("open")),
        "{error}"
    );
    drop(one);
    assert_eq!(other.get(key).await, Ok(Some(b"1".to_vec())));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.redb");
    fs::write(&file, "important").unwrap();
    let store = Store::new(Arc::new(Volume::new(directory.path().to_owned())), "me".into());
    let error = store.space("x").put("k", &1, None).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "important");
}
