//! One object that cannot be read keeps nobody from seeing the others.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response},
};
use kube::client::Body as RequestBody;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;

/// What the API server answers to a list; a watch says nothing, and goes on.
fn answer(request: &Request<RequestBody>) -> Response<Body> {
    if request.uri().query().unwrap_or_default().contains("watch=true") {
        return Response::new(Body::from_stream(
            futures::stream::pending::<Result<Vec<u8>, Infallible>>(),
        ));
    }
    let agent = |name: &str, provider: &str| {
        json!({
            "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent",
            "metadata": { "name": name, "namespace": "zoo", "resourceVersion": "1", "managedFields": [] },
            "spec": { "model": { "provider": provider } },
            "status": { "url": format!("http://{name}") },
        })
    };
    let items = if request.uri().path().ends_with("/agents") {
        vec![agent("new", "Abacus"), agent("old", "Demo")]
    } else {
        Vec::new()
    };
    let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items });
    Response::new(Body::from(list.to_string()))
}

#[tokio::test]
async fn k1_an_object_that_cannot_be_read_hides_no_other() {
    let service = tower::service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (stores, _) = start(&Client::new(service, "default"), &tasks, &stop);
    timeout(Duration::from_secs(10), stores.ready()).await.unwrap();

    let get = |name: &str| stores.agents.get(&ObjectRef::new(name).within("zoo")).unwrap();
    assert!(get("old").readable().is_some());
    let Object::Unreadable(unreadable) = &*get("new") else {
        unreachable!("no version knows an abacus")
    };
    assert!(
        unreadable
            .why
            .starts_with("spec.model.provider: unknown variant `Abacus`"),
        "{}",
        unreadable.why
    );
    assert_eq!(unreadable.status()["url"], "http://new");
    assert_eq!(get("new").meta().managed_fields, None);
    stop.cancel();
}

#[test]
fn an_agent_that_can_be_read_again_is_an_ordinary_one() {
    let object = |provider: &str| -> Object<Agent> {
        let spec: Value = json!({ "model": { "provider": provider } });
        let metadata = json!({ "name": "a", "namespace": "zoo" });
        let object =
            json!({ "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": spec });
        serde_json::from_value(object).unwrap()
    };
    let mut writer = Writer::default();
    let reader = writer.as_reader();
    for (provider, readable) in [("Demo", true), ("Abacus", false), ("Demo", true)] {
        writer.apply_watcher_event(&Event::Apply(object(provider)));
        let seen = reader.get(&ObjectRef::new("a").within("zoo")).unwrap();
        assert_eq!(seen.readable().is_some(), readable);
    }
}
