//! The live children of one kind, as the watch has them.
//!
//! Thousands of them are kept, and each is looked at rarely, so each is kept as text: a Deployment that takes 15 KiB as a
//! typed object takes 4.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{PoisonError, RwLock},
};

use kube::{Resource, runtime::watcher::Event};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

/// Live children of one kind.
pub(crate) struct Children<K> {
    live: RwLock<Live>,
    filled: CancellationToken,
    kind: PhantomData<fn() -> K>,
}

#[derive(Default)]
struct Live {
    objects: HashMap<Key, Entry>,
    /// What a watch that began anew has listed so far.
    arriving: HashMap<Key, Entry>,
}

/// Namespace and name.
type Key = (String, String);

struct Entry {
    owner: Option<String>,
    resource_version: Option<String>,
    json: Box<[u8]>,
}

impl<K> Default for Children<K> {
    fn default() -> Self {
        Self {
            live: RwLock::default(),
            filled: CancellationToken::new(),
            kind: PhantomData,
        }
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Children<K> {
    /// Notes what the watch tells.
    pub(crate) fn see(&self, event: &Event<K>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => drop(live.objects.insert(key(object), Entry::of(object))),
            Event::Delete(object) => drop(live.objects.remove(&key(object))),
            Event::Init => live.arriving.clear(),
            Event::InitApply(object) => drop(live.arriving.insert(key(object), Entry::of(object))),
            Event::InitDone => {
                live.objects = std::mem::take(&mut live.arriving);
                self.filled.cancel();
            }
        }
    }

    /// Waits until everything is there that was when the watch began.
    pub(crate) async fn wait_until_ready(&self) {
        self.filled.cancelled().await;
    }

    /// The child of a name.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<K> {
        self.look(namespace, name, |entry| serde_json::from_slice(&entry.json).ok())
    }

    /// The version of the child of a name.
    pub(crate) fn resource_version(&self, namespace: &str, name: &str) -> Option<String> {
        self.look(namespace, name, |entry| entry.resource_version.clone())
    }

    /// The children of the resource with an identity, but the one with a name.
    pub(crate) fn of_owner_except(&self, uid: &str, name: &str) -> Vec<K> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let others = live
            .objects
            .iter()
            .filter(|(key, entry)| entry.owner.as_deref() == Some(uid) && key.1 != name);
        others
            .filter_map(|(_, entry)| serde_json::from_slice(&entry.json).ok())
            .collect()
    }

    fn look<T>(&self, namespace: &str, name: &str, read: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .and_then(read)
    }
}

impl Entry {
    fn of<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        let meta = object.meta();
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        Self {
            owner: owners
                .iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone()),
            resource_version: meta.resource_version.clone(),
            // What was read from JSON can be written as JSON; an object that could not would be looked up as absent.
            json: serde_json::to_vec(object).unwrap_or_default().into(),
        }
    }
}

fn key<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn child(name: &str, owner: &str) -> ConfigMap {
        let owner = json!({ "apiVersion": "v1", "kind": "A", "name": "a", "uid": owner, "controller": true });
        let metadata = json!({ "name": name, "namespace": "n", "resourceVersion": "7", "ownerReferences": [owner] });
        serde_json::from_value(json!({ "metadata": metadata, "data": { "k": "v" } })).unwrap()
    }

    #[test]
    fn a_watch_that_begins_anew_replaces_what_was_known() {
        let children = Children::default();
        children.see(&Event::Apply(child("old", "1")));
        children.see(&Event::Init);
        children.see(&Event::InitApply(child("new", "1")));
        assert!(children.get("n", "old").is_some() && children.get("n", "new").is_none());
        children.see(&Event::InitDone);
        assert_eq!(children.get("n", "old"), None);
        assert_eq!(children.get("n", "new"), Some(child("new", "1")));
        assert_eq!(children.resource_version("n", "new").as_deref(), Some("7"));
        children.see(&Event::Apply(child("other", "2")));
        assert_eq!(children.of_owner_except("2", "x"), [child("other", "2")]);
        assert_eq!(children.of_owner_except("2", "other"), []);
        children.see(&Event::Delete(child("new", "1")));
        assert_eq!(children.of_owner_except("1", "x"), []);
    }
}
