//! Permissions: exactly these. A new one is a line here, seen by whoever reviews it; one that is gone is a line less.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use rockbot_chart_tests::{
    helm::NAMESPACE,
    manifest::{Manifest, find},
};

use crate::renderings;

/// What the operator may do in every namespace.
const OPERATOR: &[&str] = &[
    "rockbot.dev/agents: list watch",
    "rockbot.dev/agents/finalizers: update",
    "rockbot.dev/agents/status: patch",
    "rockbot.dev/mcpservers: list watch",
    "rockbot.dev/mcpservers/finalizers: update",
    "rockbot.dev/mcpservers/status: patch",
    "/configmaps: get list watch create patch delete",
    "/serviceaccounts: get list watch create patch delete",
    "/persistentvolumeclaims: get list watch create patch",
    "/services: get list watch create patch delete",
    "apps/deployments: get list watch create patch delete",
    "networking.k8s.io/networkpolicies: get list watch create patch delete",
    "events.k8s.io/events: create patch",
    "authentication.k8s.io/tokenreviews: create",
];
/// What the operator may do in the release's namespace.
const OPERATOR_AT_HOME: &[&str] = &[
    "coordination.k8s.io/leases: create",
    "coordination.k8s.io/leases[rockbot-operator]: get patch",
];
/// What the scripts manager may do in every namespace.
const MANAGER: &[&str] = &["authentication.k8s.io/tokenreviews: create"];
/// What the scripts manager may do in the scripts namespace.
const MANAGER_OF_SCRIPTS: &[&str] = &[
    "/pods: list watch create delete",
    "/pods/attach: get create",
    "events.k8s.io/events: create",
];

#[test]
fn k3_permissions_are_exactly_these() -> Result<()> {
    let [plain, _] = renderings()?;
    let expected = [
        ("ClusterRole", "", "rockbot-operator", OPERATOR),
        ("ClusterRole", "", "rockbot-scripts-manager", MANAGER),
        ("Role", NAMESPACE, "rockbot-operator", OPERATOR_AT_HOME),
        ("Role", "rockbot-scripts", "rockbot-scripts-manager", MANAGER_OF_SCRIPTS),
    ];
    for (kind, namespace, name, permissions) in expected {
        let role = find(&plain, kind, name)?;
        ensure!(role.namespace == namespace, "{} is not in {namespace:?}", role.id());
        let expected: BTreeSet<_> = permissions.iter().map(|permission| (*permission).to_owned()).collect();
        assert_eq!(permissions_of(role)?, expected, "{}", role.id());
    }
    let roles = plain.iter().filter(|manifest| manifest.kind.ends_with("Role")).count();
    ensure!(
        roles == expected.len(),
        "{roles} roles, {} are known here",
        expected.len()
    );
    Ok(())
}

#[test]
fn k3_nothing_reaches_secrets_and_nothing_is_a_wildcard() -> Result<()> {
    for manifests in renderings()? {
        for role in manifests.iter().filter(|manifest| manifest.kind.ends_with("Role")) {
            for permission in permissions_of(role)? {
                ensure!(!permission.contains('*'), "{}: {permission}", role.id());
                let (resource, verbs) = permission.split_once(": ").context("no verbs")?;
                ensure!(!resource.ends_with("/secrets"), "{}: {permission}", role.id());
                let powers = ["escalate", "bind", "impersonate", "deletecollection"];
                ensure!(
                    !verbs.split(' ').any(|verb| powers.contains(&verb)),
                    "{}: {permission}",
                    role.id()
                );
                for resource_of_power in ["pods/exec", "rbac.authorization.k8s.io/", "serviceaccounts/token"] {
                    ensure!(!resource.contains(resource_of_power), "{}: {permission}", role.id());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn k3_each_role_is_bound_to_its_own_account_alone() -> Result<()> {
    for manifests in renderings()? {
        for binding in manifests
            .iter()
            .filter(|manifest| manifest.kind.ends_with("RoleBinding"))
        {
            let (role, subjects) = binding_of(binding)?;
            find(&manifests, &role.kind, &role.name)?;
            ensure!(role.name == binding.name, "{} binds {}", binding.id(), role.name);
            let [
                Subject {
                    kind, name, namespace, ..
                },
            ] = &subjects[..]
            else {
                anyhow::bail!("{} has {} subjects", binding.id(), subjects.len());
            };
            // A role and whoever has it have one name, but for the role that a cluster has once.
            let once = role.kind == "ClusterRole" && role.name == "rockbot-operator" && name.ends_with("-operator");
            ensure!(
                kind == "ServiceAccount" && (*name == role.name || once),
                "{} binds {kind} {name}",
                binding.id()
            );
            ensure!(
                namespace.as_deref() == Some(NAMESPACE),
                "{} binds an account of {namespace:?}",
                binding.id()
            );
            find(&manifests, "ServiceAccount", name)?;
        }
        let bindings = manifests
            .iter()
            .filter(|manifest| manifest.kind.ends_with("RoleBinding"))
            .count();
        ensure!(bindings == 4, "{bindings} bindings");
    }
    Ok(())
}

fn permissions_of(role: &Manifest) -> Result<BTreeSet<String>> {
    let rules = if role.kind == "Role" {
        role.read::<Role>()?.rules
    } else {
        role.read::<ClusterRole>()?.rules
    };
    Ok(rules.unwrap_or_default().iter().flat_map(permissions).collect())
}

/// `group/resource[names]: verbs` for each resource of a rule.
fn permissions(rule: &PolicyRule) -> Vec<String> {
    let names = rule
        .resource_names
        .as_ref()
        .map(|names| format!("[{}]", names.join(" ")))
        .unwrap_or_default();
    let urls = rule.non_resource_urls.iter().flatten().map(|url| format!("url{url}"));
    let resources = rule.api_groups.iter().flatten().flat_map(|group| {
        rule.resources
            .iter()
            .flatten()
            .map(move |resource| format!("{group}/{resource}"))
    });
    resources
        .chain(urls)
        .map(|what| format!("{what}{names}: {}", rule.verbs.join(" ")))
        .collect()
}

fn binding_of(binding: &Manifest) -> Result<(RoleRef, Vec<Subject>)> {
    let (role, subjects) = if binding.kind == "RoleBinding" {
        let binding: RoleBinding = binding.read()?;
        (binding.role_ref, binding.subjects)
    } else {
        let binding: ClusterRoleBinding = binding.read()?;
        (binding.role_ref, binding.subjects)
    };
    Ok((role, subjects.unwrap_or_default()))
}
