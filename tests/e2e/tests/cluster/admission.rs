//! T17: the scripts namespace lets in the scripts manager's pods, field by field, and nothing else, whoever asks.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rockbot_e2e::{
    Cluster, Namespace, eventually,
    fixtures::python_pod,
    identity::{client_as, token},
    in_namespace,
    parts::{ADMISSION, MANAGER, Parts},
    release::SCRIPTS_NAMESPACE,
    service::Caller,
    wait::Seen,
};
use serde_json::{Value, json};

/// The policy and the rights of a scripts manager, without a manager.
const POLICY: [&str; 3] = [ADMISSION, "scripts-manager/serviceaccount", "scripts-manager/rbac"];
/// Single changes of the manager's pod: `where | what is there instead | field that the refusal names`.
const DEVIATIONS: &str = include_str!("deviations.txt");

#[tokio::test]
async fn t17_only_the_exact_pod_is_let_in_whoever_asks() -> Result<()> {
    in_namespace("admission", async |ns| {
        Parts::make_open_namespace(ns).await?;
        // With packages there is a second shape, which has a network: nobody else may pass for it.
        Parts::with(ns, &POLICY, &["scripts.packages.enabled=true"], async |parts| {
            let pod = managers_pod(ns).await?;
            let account = json!({ "metadata": { "name": "other" } });
            parts
                .scripts
                .api::<ServiceAccount>()
                .create(&PostParams::default(), &serde_json::from_value(account)?)
                .await?;
            let manager = client_as(&ns.cluster, &token(ns, &parts.manager(), None, None).await?).await?;
            for client in [&ns.cluster.client, &manager] {
                let scripts: Api<Pod> = Api::namespaced(client.clone(), &parts.scripts.name);
                is_in_force(&scripts, &pod).await?;
                try_create(&scripts, &pod)
                    .await
                    .context("the manager's own pod is refused")?;
                let mut pulled = pod.clone();
                pulled["spec"]["imagePullSecrets"] = json!([{ "name": "registry" }]);
                try_create(&scripts, &pulled)
                    .await
                    .context("with a ServiceAccount's pull secrets")?;
                refuses_every_deviation(&scripts, &pod).await?;
            }
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_a_script_pod_cannot_be_changed() -> Result<()> {
    in_namespace("updates", async |ns| {
        Parts::make_open_namespace(ns).await?;
        Parts::with(ns, &POLICY, &[], async |parts| {
            let pods = parts.scripts.api::<Pod>();
            let pod = managers_pod(ns).await?;
            is_in_force(&pods, &pod).await?;
            pods.create(&PostParams::default(), &serde_json::from_value(pod.clone())?)
                .await?;
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            let second = json!([{ "name": "debugger", "image": "busybox" }]);
            for (part, patch, field) in [
                ("", json!({ "metadata": { "labels": { "team": "x" } } }), "metadata.labels.team"),
                ("", json!({ "metadata": { "annotations": { "x": "y" } } }), "metadata.annotations.x"),
                ("", json!({ "metadata": { "finalizers": ["example.com/stay"] } }), "metadata.finalizers"),
                ("", json!({ "spec": { "activeDeadlineSeconds": 1 } }), "spec.activeDeadlineSeconds"),
                ("", json!({ "spec": { "containers": [{ "name": "script", "image": "busybox" }] } }), "spec.containers"),
                (
                    "resize",
                    json!({ "spec": { "containers": [{ "name": "script", "resources": { "limits": { "cpu": "2" } } }] } }),
                    "spec.containers",
                ),
                ("ephemeralcontainers", json!({ "spec": { "ephemeralContainers": second } }), "spec.ephemeralContainers"),
            ] {
                let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
                let outcome = match part {
                    "" => pods.patch(name, &params, &patch).await,
                    _ => pods.patch_subresource(part, name, &params, &patch).await,
                };
                let refusal = refusal(outcome).with_context(|| format!("{patch:?}"))?;
                ensure!(named(&refusal, "would change ").contains(&field), "{field}: {refusal}");
            }
            // A finalizer that the API server itself takes away is no change of the pod.
            pods.delete(name, &DeleteParams::foreground().grace_period(1)).await?;
            parts.scripts.gone::<Pod>("script pod", "").await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_a_runtime_class_brings_its_scheduling_and_overhead_and_nothing_else_does() -> Result<()> {
    in_namespace("runtimeclass", async |ns| {
        let class = format!(
            "
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {{ name: {0}, labels: {{ app.kubernetes.io/instance: {0} }} }}
handler: runc
overhead: {{ podFixed: {{ cpu: 50m }} }}
scheduling: {{ nodeSelector: {{ kubernetes.io/os: linux }}, tolerations: [{{ key: walled, operator: Exists }}] }}
",
            ns.name
        );
        ns.apply(&class).await?;
        Parts::make_open_namespace(ns).await?;
        let value = format!("scripts.runtimeClassName={}", ns.name);
        Parts::with(ns, &POLICY, &[&value, "scripts.hostUsers=false"], async |parts| {
            let scripts = parts.scripts.api::<Pod>();
            let mut pod = managers_pod(ns).await?;
            is_in_force(&scripts, &pod).await?;
            let refusal = refusal(try_create(&scripts, &pod).await)?;
            let fields = named(&refusal, "differs in ");
            ensure!(
                fields.contains(&"spec.runtimeClassName") && fields.contains(&"spec.hostUsers"),
                "{refusal}"
            );
            pod["spec"]["runtimeClassName"] = json!(ns.name);
            pod["spec"]["hostUsers"] = json!(false);
            try_create(&scripts, &pod).await.context("the class's pod is refused")?;
            for (pointer, value, field) in [
                ("/spec/nodeSelector", json!({ "team": "x" }), "spec.nodeSelector"),
                (
                    "/spec/tolerations",
                    json!([{ "operator": "Exists" }]),
                    "spec.tolerations",
                ),
                ("/spec/hostUsers", Value::Null, "spec.hostUsers"),
            ] {
                is_refused(&scripts, &pod, pointer, value, field).await?;
            }
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_the_manager_makes_no_pod_before_the_policy_is_in_force() -> Result<()> {
    in_namespace("unguarded", async |ns| {
        Parts::with(ns, &MANAGER, &["scripts.requireNetworkPolicy=false"], async |parts| {
            parts.logged("its ValidatingAdmissionPolicy is missing").await?;
            let pods = parts.scripts.api::<Pod>().list(&ListParams::default()).await?;
            ensure!(pods.items.is_empty(), "there are {} pods", pods.items.len());
            parts.apply(&[ADMISSION], &[]).await?;
            let manager = parts.open_manager().await?;
            eventually("a pod is parked", Duration::from_secs(60), async || {
                let (_, status) = manager.get("/v1/status", Caller::default()).await?;
                let parked = serde_json::from_str::<Value>(&status)?["parked"] == 1;
                Ok(Seen::when(parked, || status))
            })
            .await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_the_installed_policy_is_in_force_and_without_fault() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client.clone());
    eventually(
        "its expressions are checked against types",
        Duration::from_secs(20),
        async || {
            let status = policies.get(SCRIPTS_NAMESPACE).await?.status.unwrap_or_default();
            let warnings = status
                .type_checking
                .as_ref()
                .map(|checking| checking.expression_warnings.iter().flatten().count());
            Ok(Seen::when(warnings == Some(0), || format!("{status:?}")))
        },
    )
    .await?;
    // An ordinary pod that Pod Security admits, by an administrator of the cluster.
    let pod = python_pod("ordinary", &std::collections::BTreeMap::new(), "print(1)", &[])?;
    let scripts: Api<Pod> = Api::namespaced(cluster.client.clone(), SCRIPTS_NAMESPACE);
    let refusal = refusal(try_create(&scripts, &serde_json::to_value(pod)?).await)?;
    ensure!(refusal.contains("Run other pods elsewhere"), "{refusal}");
    Ok(())
}

async fn refuses_every_deviation(scripts: &Api<Pod>, pod: &Value) -> Result<()> {
    let mut tried = 0;
    for line in DEVIATIONS.lines().filter(|line| !line.starts_with('#')) {
        let [pointer, value, field] = line.split(" | ").collect::<Vec<_>>()[..] else {
            bail!("no deviation: {line}");
        };
        let value = match value.trim() {
            "" => Value::Null,
            value => serde_json::from_str(value).with_context(|| line.to_owned())?,
        };
        is_refused(scripts, pod, pointer, value, field).await?;
        tried += 1;
    }
    ensure!(tried >= 90, "only {tried} deviations");
    // One character of the supervisor.
    let source = pod["spec"]["containers"][0]["command"][5]
        .as_str()
        .context("no source")?;
    let altered = json!(source.replacen("EPERM", "EPERN", 1));
    ensure!(altered != source, "nothing was altered");
    let pointer = "/spec/containers/0/command/5";
    is_refused(scripts, pod, pointer, altered, "spec.containers[0].command[5]").await
}

async fn is_refused(scripts: &Api<Pod>, pod: &Value, pointer: &str, value: Value, field: &str) -> Result<()> {
    let mut other = pod.clone();
    set(&mut other, pointer, value.clone()).with_context(|| pointer.to_owned())?;
    let refusal = refusal(try_create(scripts, &other).await).with_context(|| format!("{pointer} {value}"))?;
    ensure!(
        named(&refusal, "differs in ").contains(&field),
        "{pointer} {value}: the refusal does not name {field}: {refusal}"
    );
    Ok(())
}

/// The pod of the installed scripts manager, as it was sent to the API server: without what was added there.
async fn managers_pod(ns: &Namespace) -> Result<Value> {
    let pods: Api<Pod> = Api::namespaced(ns.cluster.client.clone(), SCRIPTS_NAMESPACE);
    let list = ListParams::default().labels("app.kubernetes.io/component=script");
    let made = eventually("a script pod is parked", Duration::from_secs(30), async || {
        let first = pods.list(&list).await?.items.into_iter().next();
        Ok(first.map_or_else(|| Seen::NotYet("none".to_owned()), Seen::Done))
    })
    .await?;
    let mut pod = json!({
        "metadata": {
            "name": made.metadata.name,
            "labels": made.metadata.labels,
            "annotations": made.metadata.annotations,
        },
        "spec": made.spec,
    });
    let added = "nodeName serviceAccount serviceAccountName tolerations priority preemptionPolicy schedulerName";
    for field in added.split(' ') {
        set(&mut pod, &format!("/spec/{field}"), Value::Null)?;
    }
    for field in ["terminationMessagePath", "terminationMessagePolicy"] {
        set(&mut pod, &format!("/spec/containers/0/{field}"), Value::Null)?;
    }
    Ok(pod)
}

/// A policy needs a moment until it refuses anything.
async fn is_in_force(scripts: &Api<Pod>, pod: &Value) -> Result<()> {
    let mut other = pod.clone();
    set(&mut other, "/spec/hostname", json!("x"))?;
    eventually("the policy is in force", Duration::from_secs(20), async || {
        Ok(Seen::when(try_create(scripts, &other).await.is_err(), || {
            "not yet".to_owned()
        }))
    })
    .await
}

async fn try_create(scripts: &Api<Pod>, pod: &Value) -> kube::Result<Pod> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pod = serde_json::from_value(pod.clone()).map_err(kube::Error::SerdeError)?;
    scripts.create(&dry_run, &pod).await
}

/// What the policy says when it refuses.
fn refusal(outcome: kube::Result<Pod>) -> Result<String> {
    match outcome {
        Ok(_) => bail!("it is let in"),
        Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
            Ok(status.message.clone())
        }
        Err(error) => bail!("refused by somebody else: {error}"),
    }
}

/// The fields that a refusal lists.
fn named<'a>(refusal: &'a str, before: &str) -> Vec<&'a str> {
    let list = refusal.split_once(before).map_or("", |(_, rest)| rest);
    let list = list.split_once(". ").map_or(list, |(list, _)| list);
    list.split(", ").collect()
}

/// Puts `value` where `pointer` leads, or takes away what is there.
fn set(object: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let (parent, key) = pointer.rsplit_once('/').context("no pointer")?;
    let key = key.replace("~1", "/");
    match object.pointer_mut(parent).with_context(|| format!("no {parent}"))? {
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) if index < items.len() => items[index] = value,
            _ => items.push(value),
        },
        Value::Object(fields) if value.is_null() => drop(fields.remove(&key)),
        Value::Object(fields) => drop(fields.insert(key, value)),
        other => bail!("{parent} is {other}"),
    }
    Ok(())
}
