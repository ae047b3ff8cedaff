//! K4, T17: an agent pod's identity is worth nothing to the Kubernetes API, and the services accept it only as itself.

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{
    Cluster, Namespace,
    cluster::AGENT,
    fixtures::demo_agent,
    identity::{client_as, pod_of, rules_of, token},
    in_namespace,
    node::{container_id, run_on_node},
    release::{self, OPERATOR, SCRIPTS_MANAGER},
    service::{Caller, Service},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[tokio::test]
async fn t17_the_api_server_refuses_an_agent_everything() -> Result<()> {
    in_namespace("identity", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let pod = pod_of(ns, "agent-one").await?;

        // With a token for the API server, which the pod itself does not have, its identity may do what anybody may.
        let agent = client_as(&ns.cluster, &token(ns, "agent-one", None, Some(&pod)).await?).await?;
        let nobody: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "nobody" } }))?;
        ns.api::<ServiceAccount>()
            .create(&PostParams::default(), &nobody)
            .await?;
        let nobody = client_as(&ns.cluster, &token(ns, "nobody", None, None).await?).await?;
        for namespace in [
            ns.name.as_str(),
            release::NAMESPACE,
            release::SCRIPTS_NAMESPACE,
            "kube-system",
        ] {
            let (mine, anybodys) = (rules_of(&agent, namespace).await?, rules_of(&nobody, namespace).await?);
            ensure!(
                mine == anybodys,
                "in {namespace} an agent may do {mine:#?}, anybody {anybodys:#?}"
            );
            ensure!(!mine.is_empty(), "the review lists not even what everybody may do");
            refused::<Pod>(&agent, namespace).await?;
            refused::<Secret>(&agent, namespace).await?;
            refused::<ConfigMap>(&agent, namespace).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t17_an_agent_pod_holds_no_token_for_the_api_server() -> Result<()> {
    in_namespace("tokens", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.ready(AGENT, "one").await?;
        let pod = pod_of(ns, "agent-one").await?;
        let spec = pod.spec.as_ref().context("a pod without a spec")?;
        ensure!(
            spec.automount_service_account_token == Some(false),
            "the token is mounted automatically"
        );

        let tokens = tokens_in(&ns.cluster, &pod).await?;
        ensure!(
            !tokens.is_empty(),
            "no token was found at all: the search does not work"
        );
        for token in tokens {
            let claims = claims_of(&token)?;
            let audience = claims["aud"].as_array().context("a token without audience")?;
            let ours = ["rockbot-operator", "rockbot-scripts-manager"];
            ensure!(
                audience.iter().all(|name| ours.iter().any(|our| name == our)),
                "a token for {audience:?}"
            );
            let error = anything(&client_as(&ns.cluster, &token).await?).await;
            ensure!(
                error == Some(401),
                "the API server answered {error:?} to a token for {audience:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn k4_the_services_refuse_everyone_but_an_agent_as_itself() -> Result<()> {
    in_namespace("refusal", async |ns| {
        ns.apply(&demo_agent("one")).await?;
        ns.apply(&demo_agent("two")).await?;
        ns.ready(AGENT, "one").await?;
        ns.ready(AGENT, "two").await?;
        let operator = Service::open(&ns.cluster, release::NAMESPACE, OPERATOR).await?;
        let manager = Service::open(&ns.cluster, release::NAMESPACE, SCRIPTS_MANAGER).await?;
        refuses_others(ns, &operator, "rockbot-operator", "rockbot-scripts-manager").await?;
        refuses_others(ns, &manager, "rockbot-scripts-manager", "rockbot-operator").await?;
        own_namespace_only(ns, &operator).await
    })
    .await
}

async fn refuses_others(ns: &Namespace, service: &Service, audience: &str, other: &str) -> Result<()> {
    let good = token(ns, "agent-one", Some(audience), None).await?;
    let bad = [
        (None, StatusCode::UNAUTHORIZED, "no token"),
        (Some("garbage".to_owned()), StatusCode::UNAUTHORIZED, "garbage"),
        (Some(format!("{good}x")), StatusCode::UNAUTHORIZED, "a forged signature"),
        (
            Some(token(ns, "agent-one", None, None).await?),
            StatusCode::UNAUTHORIZED,
            "the API server's audience",
        ),
        (
            Some(token(ns, "agent-one", Some(other), None).await?),
            StatusCode::UNAUTHORIZED,
            "another audience",
        ),
        (
            Some(token(ns, "default", Some(audience), None).await?),
            StatusCode::FORBIDDEN,
            "no agent",
        ),
    ];
    for (token, status, what) in bad {
        let answer = knock(
            service,
            audience,
            token.as_deref().map(Caller::with).unwrap_or_default(),
        )
        .await?;
        ensure!(answer.0 == status, "{audience} answered {answer:?} to {what}");
    }
    let (itself, sister) = (format!("{}/one", ns.name), format!("{}/two", ns.name));
    let good = Caller::with(&good);
    for claim in [sister.as_str(), "default/one", "one"] {
        let answer = knock(service, audience, good.claiming(claim)).await?;
        ensure!(
            answer.0 == StatusCode::FORBIDDEN,
            "{audience} took {itself} for {claim}: {answer:?}"
        );
    }
    for caller in [good, good.claiming(&itself)] {
        let answer = knock(service, audience, caller).await?;
        ensure!(
            answer.0 == StatusCode::OK,
            "{audience} refused an agent as itself: {answer:?}"
        );
    }
    Ok(())
}

/// The operator tells an agent of its own namespace, and of no other.
async fn own_namespace_only(ns: &Namespace, operator: &Service) -> Result<()> {
    let good = token(ns, "agent-one", Some("rockbot-operator"), None).await?;
    let one = Caller::with(&good);
    let (_, list) = operator.get("/v1/agents", one).await?;
    let list: Value = serde_json::from_str(&list)?;
    let agents = list["agents"].as_array().context("no list of agents")?;
    let names: Vec<_> = agents
        .iter()
        .map(|agent| agent["name"].as_str().unwrap_or_default())
        .collect();
    ensure!(names == ["one", "two"], "agents of the namespace: {list}");
    ensure!(
        agents.iter().all(|agent| agent["namespace"] == ns.name.as_str()),
        "another namespace: {list}"
    );
    let (status, two) = operator.get(&format!("/v1/agents/{}/two", ns.name), one).await?;
    ensure!(
        status == StatusCode::OK && two.contains("\"ready\":true"),
        "{status}: {two}"
    );
    for (path, expected) in [
        ("/v1/agents/default/two".to_owned(), StatusCode::FORBIDDEN),
        ("/v1/agents/kube-system/one".to_owned(), StatusCode::FORBIDDEN),
        (format!("/v1/agents/{}/three", ns.name), StatusCode::NOT_FOUND),
    ] {
        let (status, body) = operator.get(&path, one).await?;
        ensure!(status == expected, "{path}: {status} {body}");
        let error: Value = serde_json::from_str(&body)?;
        ensure!(
            error["error"]["message"].is_string() && error["error"]["code"].is_string(),
            "{path}: {body}"
        );
    }
    Ok(())
}

/// The request that every agent makes of a service.
async fn knock(service: &Service, audience: &str, caller: Caller<'_>) -> Result<(StatusCode, String)> {
    if audience == "rockbot-operator" {
        return service.get("/v1/agents", caller).await;
    }
    service
        .post("/v1/scripts", &json!({ "script": "print(1)" }), caller)
        .await
}

/// Every verb on a kind is refused with 403.
async fn refused<K>(client: &Client, namespace: &str) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    K: serde::Serialize + Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut object = K::default();
    object.meta_mut().name = Some("x".into());
    let tries = [
        ("get", api.get("x").await.err()),
        ("list", api.list(&ListParams::default()).await.err()),
        ("create", api.create(&PostParams::default(), &object).await.err()),
        ("replace", api.replace("x", &PostParams::default(), &object).await.err()),
        ("delete", api.delete("x", &Default::default()).await.err()),
        (
            "deletecollection",
            api.delete_collection(&Default::default(), &ListParams::default())
                .await
                .err(),
        ),
    ];
    for (verb, error) in tries {
        ensure!(
            status_of(error.as_ref()) == Some(403),
            "{verb} of a {} in {namespace}: {error:?}",
            K::kind(&())
        );
    }
    Ok(())
}

/// The status with which the API server refuses a question that every authenticated identity may ask.
async fn anything(client: &Client) -> Option<u16> {
    let error = rules_of(client, "default").await.err()?;
    status_of(error.downcast_ref())
}

fn status_of(error: Option<&kube::Error>) -> Option<u16> {
    match error {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// Every JSON Web Token in a file that the container of `pod` can see, found from the node.
async fn tokens_in(cluster: &Cluster, pod: &Pod) -> Result<Vec<String>> {
    let id = container_id(pod)?;
    let search = "\
        pid=$(grep -ls \"$1\" /proc/[0-9]*/cgroup | head -n 1 | cut -d/ -f3); cd \"/proc/$pid/root\" || exit 1
        find . \\( -path ./proc -o -path ./sys -o -path ./dev \\) -prune -o -type f -size -64k -print0 |
        xargs -0 grep -hoE '^eyJ[A-Za-z0-9_-]+\\.eyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+' || true";
    let found = run_on_node(&cluster.settings, &["sh", "-c", search, "sh", id]).await?;
    Ok(found.lines().map(str::to_owned).collect())
}

fn claims_of(token: &str) -> Result<Value> {
    let payload = token.split('.').nth(1).context("no token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}
