//! Labels of everything that the operator makes, and the selectors that are taken from them. Nothing else formats one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Label selector of everything that the operator manages.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=rockbot-operator";

/// Annotation of pods with the hash of the configuration that they were started with: a new one rolls them.
pub(crate) const CONFIG_HASH: &str = "rockbot.dev/config-hash";

/// Annotation with the hash of the object as it was applied last.
pub(crate) const APPLIED_HASH: &str = "rockbot.dev/applied-hash";

/// Label of a namespace whose pods may call agents of other namespaces.
pub(crate) const ACCESS: (&str, &str) = ("rockbot.dev/access", "agents");

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
const COMPONENT: &str = "app.kubernetes.io/component";
const PART_OF: &str = "app.kubernetes.io/part-of";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "rockbot-operator";

/// What a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    Agent,
    McpServer,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "rockbot-agent",
            Self::McpServer => "rockbot-mcp-server",
        }
    }

    fn component(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::McpServer => "mcp-server",
        }
    }
}

/// Labels of every child of the resource `instance`.
pub(crate) fn labels(component: Component, instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(component, instance);
    labels.extend(map([(PART_OF, "rockbot"), (MANAGED_BY, MANAGER)]));
    labels
}

/// What selects the pods of the resource `instance`. A Deployment's selector can never change, so neither can this.
pub(crate) fn selector(component: Component, instance: &str) -> BTreeMap<String, String> {
    map([
        (NAME, component.name()),
        (INSTANCE, instance),
        (COMPONENT, component.component()),
    ])
}

/// Selects the pods of every resource of a kind.
pub(crate) fn all_of(component: Component) -> LabelSelector {
    select([(COMPONENT, component.component()), (MANAGED_BY, MANAGER)])
}

/// Selects the pods of one resource.
pub(crate) fn pods_of(component: Component, instance: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector(component, instance)),
        match_expressions: None,
    }
}

/// Selects the pods of a service of the release: `operator` or `scripts-manager`.
pub(crate) fn release_service(component: &str) -> LabelSelector {
    select([(COMPONENT, component)])
}

/// Selects the cluster's DNS pods in `kube-system`.
pub(crate) fn dns_pods() -> LabelSelector {
    select([("k8s-app", "kube-dns")])
}

/// Selects one namespace by its name.
pub(crate) fn namespace(name: &str) -> LabelSelector {
    select([("kubernetes.io/metadata.name", name)])
}

/// Selects by labels that an object must have.
pub(crate) fn select<const N: usize>(labels: [(&str, &str); N]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(map(labels)),
        match_expressions: None,
    }
}

/// A selector as one string, as the scale subresource wants it.
pub(crate) fn to_text(selector: &BTreeMap<String, String>) -> String {
    selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are in objects that cannot be changed: a Deployment with another selector can only be made anew.
    #[test]
    fn selectors_are_what_they_always_were_and_a_part_of_the_labels() {
        for (component, text) in [
            (
                Component::Agent,
                "app.kubernetes.io/component=agent,app.kubernetes.io/instance=x,app.kubernetes.io/name=rockbot-agent",
            ),
            (
                Component::McpServer,
                "app.kubernetes.io/component=mcp-server,app.kubernetes.io/instance=x,app.kubernetes.io/name=rockbot-mcp-server",
            ),
        ] {
            let selector = selector(component, "x");
            assert_eq!(to_text(&selector), text);
            let labels = labels(component, "x");
            assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
            let all = all_of(component).match_labels.unwrap();
            assert!(all.iter().all(|(key, value)| labels.get(key) == Some(value)));
        }
    }
}
