//! What counts as drift, and what does not.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;

#[test]
fn what_the_api_server_adds_is_no_drift() {
    let desired = json!({
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "a": "b" } },
            "template": { "spec": { "containers": [{ "name": "agent", "image": "i", "resources": {
                "limits": { "memory": "1024Mi", "cpu": "1000m" } } }] } },
        },
    });
    let live = json!({
        "status": {},
        "spec": {
            "replicas": 1,
            "paused": false,
            "selector": { "matchLabels": { "a": "b" } },
            "template": { "spec": { "dnsPolicy": "ClusterFirst", "containers": [
                { "name": "sidecar" },
                { "name": "agent", "image": "i", "terminationMessagePath": "/x", "resources": {
                    "limits": { "memory": "1Gi", "cpu": "1" } } },
            ] } },
        },
    });
    assert!(covers("", &desired, &live));
}

#[test]
fn k1_every_change_of_what_we_set_is_drift() {
    let cases = [
        (json!({ "replicas": 1 }), json!({ "replicas": 2 })),
        (json!({ "replicas": 1 }), json!({})),
        (
            json!({ "containers": [{ "name": "a", "image": "i" }] }),
            json!({ "containers": [{ "name": "a", "image": "j" }] }),
        ),
        (
            json!({ "containers": [{ "name": "a" }] }),
            json!({ "containers": [{ "name": "b" }] }),
        ),
        (json!({ "args": ["a"] }), json!({ "args": ["a", "b"] })),
        (json!({ "drop": ["ALL"] }), json!({ "drop": ["NET_RAW"] })),
        (
            json!({ "selector": { "a": "b" } }),
            json!({ "selector": { "a": "b", "c": "d" } }),
        ),
        (
            json!({ "podSelector": { "matchLabels": {} } }),
            json!({ "podSelector": { "matchLabels": { "a": "b" } } }),
        ),
        (
            json!({ "egress": [{ "to": [] }] }),
            json!({ "egress": [{ "to": [] }, {}] }),
        ),
        (
            json!({ "limits": { "memory": "1Gi" } }),
            json!({ "limits": { "memory": "1G" } }),
        ),
    ];
    for (desired, live) in cases {
        assert!(!covers("", &desired, &live), "{desired} is not what {live} says");
    }
}

/// The hash is what tells that something is to be removed.
#[test]
fn what_is_no_longer_asked_for_is_drift() {
    let with = |data: &[(&str, &str)]| {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        seal(ConfigMap {
            data: Some(data),
            ..ConfigMap::default()
        })
    };
    let live = with(&[("a", "1"), ("b", "2")]);
    assert!(is_up_to_date(&live, &live));
    assert!(!is_up_to_date(&with(&[("a", "1")]), &live));
}
