//! Whose an object is that has the name of a child.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use rockbot_crds::GROUP;

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The resource's own.
    Ours,
    /// Of a deleted resource of the same name: the cluster is about to delete it, too.
    Leftover,
    /// Somebody else's: it must not be touched.
    Foreign,
}

/// Whose `object` is, as seen from the resource `parent`.
pub fn ownership(object: &ObjectMeta, parent: &ObjectMeta) -> Ownership {
    let owners = object.owner_references.as_deref().unwrap_or_default();
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) if Some(&owner.uid) == parent.uid.as_ref() => Ownership::Ours,
        Some(owner) if is_of_rockbot(owner) && Some(&owner.name) == parent.name.as_ref() => Ownership::Leftover,
        _ => Ownership::Foreign,
    }
}

fn is_of_rockbot(owner: &OwnerReference) -> bool {
    owner.api_version.split('/').next() == Some(GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_controller_with_our_identity_makes_an_object_ours() {
        let parent = ObjectMeta {
            name: Some("a".into()),
            uid: Some("1".into()),
            ..ObjectMeta::default()
        };
        let owner = |api_version: &str, name: &str, uid: &str, controller| OwnerReference {
            api_version: api_version.into(),
            kind: "Agent".into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(controller),
            block_owner_deletion: None,
        };
        for (owner, expected) in [
            (Some(owner("rockbot.dev/v1alpha1", "a", "1", true)), Ownership::Ours),
            (Some(owner("rockbot.dev/v1alpha1", "a", "0", true)), Ownership::Leftover),
            (Some(owner("rockbot.dev/v1alpha1", "b", "0", true)), Ownership::Foreign),
            (Some(owner("rockbot.dev/v1alpha1", "a", "1", false)), Ownership::Foreign),
            (
                Some(owner("rockbot.development/v1", "a", "0", true)),
                Ownership::Foreign,
            ),
            (None, Ownership::Foreign),
        ] {
            let object = ObjectMeta {
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            };
            assert_eq!(ownership(&object, &parent), expected, "{object:?}");
        }
    }
}
