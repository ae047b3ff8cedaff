//! An object that cannot be read is seen as one, and no longer once it can be. That it hinders nobody is shown on a cluster.

use serde_json::{Value, json};

use super::*;

#[test]
fn an_agent_that_can_be_read_again_is_an_ordinary_one() {
    let object = |provider: &str| -> Object<Agent> {
        let spec: Value = json!({ "model": { "provider": provider } });
        let metadata = json!({ "name": "a", "namespace": "zoo" });
        let object = json!({
            "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": spec,
            "status": { "url": "http://a" },
        });
        serde_json::from_value(object).unwrap()
    };
    let mut writer = Writer::default();
    let reader = writer.as_reader();
    for (provider, readable) in [("Demo", true), ("Abacus", false), ("Demo", true)] {
        writer.apply_watcher_event(&Event::Apply(object(provider)));
        let seen = reader.get(&ObjectRef::new("a").within("zoo")).unwrap();
        assert_eq!(seen.readable().is_some(), readable);
        if let Object::Unreadable(unreadable) = &*seen {
            let why = &unreadable.why;
            assert!(
                why.starts_with("spec.model.provider: unknown variant `Abacus`"),
                "{why}"
            );
            assert_eq!(unreadable.status()["url"], "http://a");
        }
    }
}
