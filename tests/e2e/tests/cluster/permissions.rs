//! T17: the scripts manager holds the rights that it needs and no other: each is taken away in turn, and what breaks is seen.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    authorization::v1::ResourceRule,
    core::v1::{Pod, ServiceAccount},
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{
    Namespace,
    cluster::AGENT,
    eventually,
    fixtures::demo_agent,
    identity::{client_as, rules_of, token},
    in_namespace,
    parts::{ADMISSION, MANAGER, Parts},
    release::{self, SCRIPTS_MANAGER, SCRIPTS_NAMESPACE},
    service::{Caller, Service},
    wait::Seen,
};
use serde_json::{Value, json};

#[tokio::test]
async fn t17_the_manager_may_do_exactly_this() -> Result<()> {
    in_namespace("rights", async |ns| {
        let home = Namespace {
            cluster: ns.cluster.clone(),
            name: release::NAMESPACE.into(),
        };
        let manager = client_as(&ns.cluster, &token(&home, SCRIPTS_MANAGER, None, None).await?).await?;
        let nobody: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "nobody" } }))?;
        ns.api::<ServiceAccount>()
            .create(&PostParams::default(), &nobody)
            .await?;
        let nobody = client_as(&ns.cluster, &token(ns, "nobody", None, None).await?).await?;
        let everywhere = vec![rule("authentication.k8s.io", "tokenreviews", &["create"])];
        let scripts = [
            rule("", "pods", &["list", "watch", "create", "delete"]),
            rule("", "pods/attach", &["get", "create"]),
            rule("events.k8s.io", "events", &["create"]),
        ];
        for (namespace, expected) in [
            (SCRIPTS_NAMESPACE, [&everywhere[..], &scripts].concat()),
            (release::NAMESPACE, everywhere.clone()),
            ("kube-system", everywhere.clone()),
            (ns.name.as_str(), everywhere),
        ] {
            let anybodys = rules_of(&nobody, namespace).await?;
            let mut mine = rules_of(&manager, namespace).await?;
            mine.retain(|rule| !anybodys.contains(rule));
            let mut expected: Vec<_> = expected.iter().map(|rule| format!("{rule:?}")).collect();
            expected.sort();
            ensure!(mine == expected, "in {namespace}: {mine:#?}\ninstead of {expected:#?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t17_without_any_one_of_its_rights_something_breaks() -> Result<()> {
    in_namespace("permissions", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        // Without a NetworkPolicy around it every pod is a reason for an Event.
        let values = ["logFormat=text", "scripts.requireNetworkPolicy=false"];
        let templates = [&MANAGER[..], &[ADMISSION]].concat();
        Parts::with(ns, &templates, &values, async |parts| {
            let token = token(ns, "agent-one", Some("rockbot-scripts-manager"), None).await?;
            let (status, answer) = run(&parts, &token).await?;
            ensure!(status == StatusCode::OK, "with all of them: {status} {answer}");
            for (resource, verb) in [
                ("pods", "list"),
                ("pods", "watch"),
                ("pods", "create"),
                ("pods/attach", "get"),
            ] {
                restart_without(&parts, resource, verb).await?;
                is_refused(&parts, resource, verb).await?;
                let status = state_of(&parts).await?;
                ensure!(
                    status["parked"] == 0,
                    "without {verb} {resource} a pod is parked: {status}"
                );
            }

            restart_without(&parts, "events", "create").await?;
            is_refused(&parts, "events", "create").await?;

            restart_without(&parts, "pods", "delete").await?;
            ensure!(run(&parts, &token).await?.0 == StatusCode::OK, "no script runs");
            is_refused(&parts, "pods", "delete").await?;

            restart_without(&parts, "tokenreviews", "create").await?;
            let (status, answer) = run(&parts, &token).await?;
            ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {answer}");

            // Kubernetes 1.35 asks for it where older ones ask for `get` alone.
            let version = ns.cluster.client.apiserver_version().await?;
            let needed = version.minor.trim_end_matches('+').parse::<u32>()? >= 35;
            restart_without(&parts, "pods/attach", "create").await?;
            if needed {
                is_refused(&parts, "pods/attach", "create").await
            } else {
                let (status, answer) = run(&parts, &token).await?;
                ensure!(status == StatusCode::OK, "{status}: {answer}");
                Ok(())
            }
        })
        .await
    })
    .await
}

/// The manager tries it, and says what came of that.
async fn is_refused(parts: &Parts, resource: &str, verb: &str) -> Result<()> {
    parts.logged(&format!("cannot {verb} resource \"{resource}\"")).await
}

/// Starts the manager anew with all of its rights but one.
async fn restart_without(parts: &Parts, resource: &str, verb: &str) -> Result<()> {
    let name = parts.manager();
    parts.apply(&["scripts-manager/rbac"], &[]).await?;
    if resource == "tokenreviews" {
        let roles: Api<ClusterRole> = Api::all(parts.ns.cluster.client.clone());
        let mut role = roles.get(&name).await?;
        take(&mut role.rules, resource, verb)?;
        roles.replace(&name, &PostParams::default(), &role).await?;
    } else {
        let roles = parts.scripts.api::<Role>();
        let mut role = roles.get(&name).await?;
        take(&mut role.rules, resource, verb)?;
        roles.replace(&name, &PostParams::default(), &role).await?;
    }
    let (now, all) = (DeleteParams::default().grace_period(1), ListParams::default());
    let own = ListParams::default().labels("app.kubernetes.io/component=scripts-manager");
    let pods = parts.ns.api::<Pod>();
    let before = pods.list(&own).await?.items;
    pods.delete_collection(&now, &own).await?;
    eventually("another manager runs", Duration::from_secs(60), async || {
        let pods = pods.list(&own).await?.items;
        let is_new = |pod: &Pod| !before.iter().any(|old| old.metadata.uid == pod.metadata.uid);
        let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let done = pods.len() == 1 && pods.iter().all(|pod| is_new(pod) && runs(pod));
        Ok(Seen::when(done, || format!("{} pods", pods.len())))
    })
    .await?;
    // What the one before left behind says nothing about this one.
    parts
        .scripts
        .api::<Pod>()
        .delete_collection(&now, &all)
        .await
        .map(drop)?;
    Ok(())
}

fn take(rules: &mut Option<Vec<PolicyRule>>, resource: &str, verb: &str) -> Result<()> {
    let mut taken = false;
    for rule in rules.iter_mut().flatten() {
        if rule.resources.iter().flatten().any(|one| one == resource) {
            let before = rule.verbs.len();
            rule.verbs.retain(|one| one != verb);
            taken |= rule.verbs.len() < before;
        }
    }
    // A rule without verbs is none.
    rules
        .iter_mut()
        .for_each(|rules| rules.retain(|rule| !rule.verbs.is_empty()));
    ensure!(taken, "there is no right to {verb} {resource} that could be taken away");
    Ok(())
}

async fn run(parts: &Parts, token: &str) -> Result<(StatusCode, String)> {
    let body = json!({ "script": "print(6 * 7)" });
    let manager = parts.open_manager().await?;
    manager.post("/v1/scripts", &body, Caller::with(token)).await
}

async fn state_of(parts: &Parts) -> Result<Value> {
    let manager = Service::open(&parts.ns.cluster, &parts.ns.name, &parts.manager()).await?;
    let (_, status) = manager.get("/v1/status", Caller::default()).await?;
    Ok(serde_json::from_str(&status)?)
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> ResourceRule {
    ResourceRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..ResourceRule::default()
    }
}
