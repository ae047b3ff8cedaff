//! Objects that wait to be reconciled: each once, however often it was touched.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, stream};
use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::sync::Notify;

/// A set of objects. It is closed while this process does not lead: then nobody takes anything out, so nothing comes in.
pub(crate) struct Queue<K: Resource<DynamicType = ()> + 'static> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K: Resource<DynamicType = ()> + 'static> {
    is_open: bool,
    waiting: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()> + 'static> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            is_open: false,
            waiting: HashSet::new(),
        };
        Self {
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Queue<K> {
    /// Takes objects in from now on, or forgets those that wait and takes in none.
    pub(crate) fn set_open(&self, is_open: bool) {
        let mut state = self.lock();
        state.is_open = is_open;
        state.waiting.clear();
    }

    /// Lets an object wait.
    pub(crate) fn add(&self, object: ObjectRef<K>) {
        let mut state = self.lock();
        if state.is_open && state.waiting.insert(object) {
            self.wake.notify_one();
        }
    }

    /// Everything that waits, as it comes. For one consumer at a time.
    pub(crate) fn stream(self: Arc<Self>) -> impl Stream<Item = ObjectRef<K>> + Send
    where
        K: Send + Sync,
    {
        stream::unfold(self, |queue| async move {
            loop {
                if let Some(object) = queue.pop() {
                    return Some((object, queue));
                }
                queue.wake.notified().await;
            }
        })
    }

    fn pop(&self) -> Option<ObjectRef<K>> {
        let mut state = self.lock();
        let next = state.waiting.iter().next().cloned()?;
        state.waiting.take(&next)
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing panics while it holds the lock, so a poisoned one is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[tokio::test]
    async fn an_object_waits_once_and_only_for_a_leader() {
        let queue = Arc::new(Queue::<ConfigMap>::default());
        queue.add(ObjectRef::new("early"));
        queue.set_open(true);
        for name in ["a", "a", "b"] {
            queue.add(ObjectRef::new(name));
        }
        let mut stream = Box::pin(Arc::clone(&queue).stream());
        let mut names = vec![stream.next().await.unwrap().name, stream.next().await.unwrap().name];
        names.sort();
        assert_eq!(names, ["a", "b"]);
        assert!(stream.next().now_or_never().is_none());
        queue.add(ObjectRef::new("a"));
        assert_eq!(stream.next().await.unwrap().name, "a");
    }
}
