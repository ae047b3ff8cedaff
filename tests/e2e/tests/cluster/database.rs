//! K1: what an agent keeps in a PostgreSQL database is there for each of its pods, also for those that come later. The way
//! there is a Service of another namespace and a certificate by an authority of its own; agents without it have no way.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{
    Namespace,
    chat::Agents,
    cluster::AGENT,
    eventually,
    fixtures::{NO_ANSWER, agent_labels, demo_agent, knock},
    in_namespace,
    wait::Seen,
};
use rockbot_test_postgres::Certificate;
use serde_json::{Value, json};

use crate::agents::forward;

const PASSWORD: &str = "not-a-secret";

#[tokio::test]
async fn k1_a_conversation_in_a_database_goes_on_in_every_pod() -> Result<()> {
    in_namespace("database", async |databases| {
        let host = format!("database.{}.svc", databases.name);
        let certificate = Certificate::of(&format!("DNS:{host}"));
        start_database(databases, &certificate).await?;
        in_namespace("keeper", async |ns| {
            ns.apply(&keeper(&host, &certificate.authority).to_string()).await?;
            ns.ready(AGENT, "keeper").await?;
            goes_on_in_every_pod(ns).await?;
            has_the_only_way(ns, &host).await
        })
        .await
    })
    .await
}

async fn start_database(ns: &Namespace, certificate: &Certificate) -> Result<()> {
    let Certificate { certificate, key, .. } = certificate;
    let server = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "server" },
        "stringData": { "tls.crt": certificate, "tls.key": key, "password": PASSWORD },
    });
    ns.apply(&server.to_string()).await?;
    ns.apply(include_str!("database.yaml")).await?;
    ns.kubectl(&["wait", "pod/database", "--for=condition=Ready", "--timeout=60s"])
        .await
        .map(drop)
}

/// Two pods that share the database.
fn keeper(host: &str, authority: &str) -> Value {
    let in_secret = |key: &str| json!({ "secretKeyRef": { "name": "database", "key": key } });
    let url = format!("postgres://rockbot:{PASSWORD}@nowhere.invalid/postgres");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "database" },
        "stringData": { "url": url, "ca.crt": authority },
    });
    let postgres = json!({ "host": host, "port": 6432, "url": in_secret("url"), "ca": in_secret("ca.crt") });
    let agent = json!({
        "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent", "metadata": { "name": "keeper" },
        "spec": {
            "model": { "provider": "Demo" },
            "replicas": 2,
            "storage": { "type": "Postgres", "postgres": postgres },
        },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [secret, agent] })
}

/// One pod answers and is deleted; its sister and its successor know the conversation.
async fn goes_on_in_every_pod(ns: &Namespace) -> Result<()> {
    let [first, _] = two_pods(ns, None).await?;
    let response = ask(ns, &first, &json!({ "model": "keeper", "input": "one" })).await?;
    ensure!(response["store"] == true, "it is not kept: {response}");
    let id = response["id"].as_str().context("no id")?;
    ns.api::<Pod>().delete(&first, &DeleteParams::default()).await?;
    for pod in two_pods(ns, Some(&first)).await? {
        let (_forward, url) = forward(ns, &format!("pod/{pod}")).await?;
        let (status, again) = Agents::at(url)?.get(&format!("/v1/responses/{id}")).await?;
        let again: Value = serde_json::from_str(&again)?;
        ensure!(status == StatusCode::OK && again == response, "{pod}: {status} {again}");
        let next = json!({ "model": "keeper", "input": "two", "previous_response_id": id });
        let next = ask(ns, &pod, &next).await?;
        ensure!(
            next["previous_response_id"] == id && next["store"] == true,
            "{pod}: {next}"
        );
    }
    Ok(())
}

/// The agent's pods reach the database and nothing beside it; those of an agent without a database do not reach it.
async fn has_the_only_way(ns: &Namespace, host: &str) -> Result<()> {
    ns.apply(&demo_agent("forgetful")).await?;
    ns.ready(AGENT, "forgetful").await?;
    let neighbour = format!("agent-forgetful.{}.svc:8080", ns.name);
    let targets = json!({ "database": format!("{host}:6432"), "neighbour": neighbour });
    let seen = knock(ns, &BTreeMap::new(), &targets).await?;
    ensure!(
        seen == json!({ "database": "open", "neighbour": "open" }),
        "an ordinary pod sees {seen}"
    );
    let seen = knock(ns, &agent_labels("keeper"), &targets).await?;
    ensure!(
        seen == json!({ "database": "open", "neighbour": NO_ANSWER }),
        "a pod of the agent sees {seen}"
    );
    let seen = knock(ns, &agent_labels("forgetful"), &targets).await?;
    ensure!(seen["database"] == NO_ANSWER, "a pod of another agent sees {seen}");
    Ok(())
}

/// The agent's pods, once there are two that are ready, neither of which is `gone`.
async fn two_pods(ns: &Namespace, gone: Option<&str>) -> Result<[String; 2]> {
    let pods: Api<Pod> = ns.api();
    let list = ListParams::default().labels("app.kubernetes.io/instance=keeper");
    eventually("two pods are ready", Duration::from_secs(60), async || {
        let ready = pods.list(&list).await?.into_iter().filter(is_ready);
        let names: Vec<_> = ready.map(|pod| pod.name_any()).collect();
        Ok(match <[String; 2]>::try_from(names) {
            Ok(names) if !names.iter().any(|name| Some(name.as_str()) == gone) => Seen::Done(names),
            Ok(names) => Seen::NotYet(format!("{names:?}")),
            Err(names) => Seen::NotYet(format!("{names:?}")),
        })
    })
    .await
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

async fn ask(ns: &Namespace, pod: &str, body: &Value) -> Result<Value> {
    let (_forward, url) = forward(ns, &format!("pod/{pod}")).await?;
    let (status, response) = Agents::at(url)?.post("/v1/responses", body).await?;
    ensure!(status == StatusCode::OK, "{pod}: {status} {response}");
    Ok(response)
}
