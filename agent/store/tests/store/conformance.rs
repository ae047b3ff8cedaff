//! What every backend must do.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use rockbot_agent_store::{Backend, Key, MAX_ENTRY, Store, StoreError};
use serde_json::{Value, json};

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const MOMENT: Option<Duration> = Some(Duration::from_millis(1));

pub(crate) async fn check(backend: Arc<dyn Backend>) {
    entries_are_kept_and_replaced(&*backend).await;
    owners_and_kinds_share_nothing(&*backend).await;
    names_are_listed_in_order(&*backend).await;
    many_are_found_at_once(&*backend).await;
    a_swap_is_all_or_nothing(&*backend).await;
    what_has_ended_is_gone(&*backend).await;
    values_are_json(Store::new(Arc::clone(&backend), "json".into())).await;
    no_name_holds_nul(Store::new(Arc::clone(&backend), "nul".into())).await;
    counters_lose_nothing(Store::new(backend, "counters".into())).await;
}

fn at<'a>(kind: &'a str, name: &'a str) -> Key<'a> {
    Key {
        owner: "me",
        kind,
        name,
    }
}

async fn entries_are_kept_and_replaced(backend: &dyn Backend) {
    let key = at("plain", "a");
    assert_eq!(backend.get(key).await, Ok(None));
    assert_eq!(backend.delete(key).await, Ok(false));
    for (value, lifetime) in [(&b"1"[..], None), (b"", HOUR), (b"\x00\xff'\\", HOUR), (b"4", None)] {
        backend.put(key, value, lifetime).await.unwrap();
        assert_eq!(backend.get(key).await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(backend.delete(key).await, Ok(true));
    assert_eq!(backend.get(key).await, Ok(None));
    assert_eq!(backend.delete(key).await, Ok(false));
}

async fn owners_and_kinds_share_nothing(backend: &dyn Backend) {
    // Joined with any separator, some of these would be the same.
    let names = ["a", "a/b", "b", "a b", "", "ä"];
    for owner in names {
        for kind in names {
            let key = Key { owner, kind, name: "x" };
            let value = format!("{owner}|{kind}");
            backend.put(key, value.as_bytes(), None).await.unwrap();
        }
    }
    for owner in names {
        for kind in names {
            let key = Key { owner, kind, name: "" };
            let expected = vec![("x".to_owned(), format!("{owner}|{kind}").into_bytes())];
            assert_eq!(backend.list(key, 10).await, Ok(expected));
        }
    }
}

async fn names_are_listed_in_order(backend: &dyn Backend) {
    for name in ["b", "a/2", "a/10", "a/%", "A", "a_", "ä", "a", "\u{10ffff}"] {
        backend.put(at("list", name), name.as_bytes(), HOUR).await.unwrap();
    }
    let names = async |prefix, limit| {
        let found = backend.list(at("list", prefix), limit).await.unwrap();
        assert!(found.iter().all(|(name, value)| name.as_bytes() == value));
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let all = ["A", "a", "a/%", "a/10", "a/2", "a_", "b", "ä", "\u{10ffff}"];
    assert_eq!(names("", 100).await, all, "in the order of their bytes");
    assert_eq!(names("a/", 100).await, ["a/%", "a/10", "a/2"]);
    assert_eq!(names("a/%", 100).await, ["a/%"], "nothing in a prefix is a pattern");
    assert_eq!(names("", 2).await, ["A", "a"]);
    assert_eq!(names("zz", 100).await, [""; 0]);
}

async fn many_are_found_at_once(backend: &dyn Backend) {
    for (kind, name, lifetime) in [
        ("many", "a", None),
        ("many", "b", HOUR),
        ("many", "%", HOUR),
        ("many", "over", MOMENT),
        ("many", "not asked for", None),
        ("others", "c", None),
    ] {
        backend.put(at(kind, name), name.as_bytes(), lifetime).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    for (names, expected) in [
        (
            &["b", "unknown", "a", "over", "c", "%", "{a,b}"][..],
            &["%", "a", "b"][..],
        ),
        (&["unknown"], &[]),
        (&[], &[]),
    ] {
        let mut found = backend.get_many("me", "many", names).await.unwrap();
        assert!(found.iter().all(|(name, value)| name.as_bytes() == value));
        found.sort();
        let found: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, expected);
    }
    backend.delete(at("many", "over")).await.unwrap();
}

async fn a_swap_is_all_or_nothing(backend: &dyn Backend) {
    let key = at("swap", "a");
    let swap = async |expected: Option<&[u8]>, value: &[u8], lifetime| {
        backend.swap(key, expected, value, lifetime).await.unwrap()
    };
    assert!(!swap(Some(b"1"), b"2", None).await, "nothing is there");
    assert!(swap(None, b"1", HOUR).await);
    assert!(!swap(None, b"2", None).await, "something is there");
    assert!(!swap(Some(b"2"), b"3", None).await, "something else is there");
    assert!(swap(Some(b"1"), b"2", MOMENT).await);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!swap(Some(b"2"), b"3", None).await, "what has ended is not there");
    assert!(swap(None, b"3", None).await, "what has ended is in nobody's way");
    assert_eq!(backend.get(key).await.unwrap().as_deref(), Some(&b"3"[..]));
}

async fn what_has_ended_is_gone(backend: &dyn Backend) {
    for (name, lifetime) in [
        ("short", MOMENT),
        ("long", HOUR),
        ("forever", None),
        ("revived", MOMENT),
    ] {
        backend.put(at("time", name), b"x", lifetime).await.unwrap();
    }
    backend.put(at("time", "revived"), b"y", None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let names = async || {
        let found = backend.list(at("time", ""), 10).await.unwrap();
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let alive = ["forever", "long", "revived"];
    assert_eq!(names().await, alive);
    assert_eq!(backend.get(at("time", "short")).await, Ok(None));
    assert_eq!(backend.delete(at("time", "short")).await, Ok(false));
    backend.put(at("time", "short"), b"x", MOMENT).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(backend.sweep().await, Ok(1), "that one alone");
    assert_eq!(backend.sweep().await, Ok(0));
    assert_eq!(names().await, alive, "nothing else was swept");
}

async fn values_are_json(store: Store) {
    let space = store.space("values");
    let value = json!({ "text": "Grüße\u{0}", "list": [1, null] });
    space.put("a", &value, None).await.unwrap();
    assert_eq!(space.get::<Value>("a").await, Ok(Some(value.clone())));
    assert!(!space.put_if_absent("a", &1, None).await.unwrap());
    assert!(space.put_if_absent("b", &1, HOUR).await.unwrap());
    assert_eq!(
        space.list::<Value>("", 9).await,
        Ok(vec![("a".into(), value), ("b".into(), json!(1))])
    );
    let wrong = space.get::<u64>("a").await;
    assert!(
        matches!(&wrong, Err(StoreError::Unreadable { name, .. }) if name == "a"),
        "{wrong:?}"
    );
    let mut found = space.get_many::<u64>(["a", "b", "b", "unknown"]).await.unwrap();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(matches!(found[0].1, Err(StoreError::Unreadable { .. })), "{found:?}");
    assert_eq!(found[1..], [("b".to_owned(), Ok(1))], "the others are read");

    space.put("large", &"x".repeat(MAX_ENTRY - 2), None).await.unwrap();
    assert_eq!(
        space.get::<String>("large").await.unwrap().unwrap().len(),
        MAX_ENTRY - 2
    );
    let error = space.put("large", &"x".repeat(MAX_ENTRY), None).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    space.delete("large").await.unwrap();
}

async fn no_name_holds_nul(store: Store) {
    let space = store.space("values");
    for name in ["\0", "a\0", "a\0b"] {
        assert_eq!(space.get::<Value>(name).await, Ok(None));
        assert_eq!(space.get_many::<Value>([name]).await, Ok(vec![]));
        assert_eq!(space.list::<Value>(name, 9).await, Ok(vec![]));
        assert_eq!(space.delete(name).await, Ok(false));
        for error in [
            space.put(name, &1, None).await.unwrap_err(),
            space.put_if_absent(name, &1, None).await.unwrap_err(),
            space.add(name, 1, None).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Refused(_)), "{error}");
            assert!(error.to_string().contains("holds NUL"), "{error}");
        }
    }
    assert!(
        !store.is_failing(),
        "whoever asks for nonsense is no reason to repair the storage"
    );
}

async fn counters_lose_nothing(store: Store) {
    let space = store.space("tokens");
    let count = async || {
        for _ in 0..10 {
            space.add("today", 3, HOUR).await.unwrap();
        }
    };
    join_all((0..8).map(|_| count())).await;
    assert_eq!(space.get::<u64>("today").await, Ok(Some(8 * 10 * 3)));
    assert_eq!(
        space.add("today", u64::MAX, HOUR).await,
        Ok(u64::MAX),
        "it stops at the end"
    );
}
