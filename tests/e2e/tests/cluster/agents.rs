//! S and T16: an Agent answers as OpenAI's API does, and runs the Python that its model writes, each run in a new pod.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use rockbot_e2e::{
    Cluster, Namespace,
    chat::Agents,
    cluster::AGENT,
    eventually, fixtures,
    http_conformance::{self, Subject},
    in_namespace,
    process::{Server, port_forward},
    release, sdk,
    wait::Seen,
};

#[tokio::test]
async fn s1_to_s7_s9_to_s15_an_agent_answers_as_openai_does() -> Result<()> {
    in_namespace("http", async |ns| {
        ns.apply(&fixtures::demo_agent("calculator")).await?;
        ns.ready(AGENT, "calculator").await?;
        let (_forward, server) = reach(ns, "calculator").await?;
        http_conformance::check(&Subject {
            server,
            name: "calculator".into(),
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t16_the_official_sdk_has_python_run_in_a_new_pod_each_time() -> Result<()> {
    in_namespace("sdk", async |ns| {
        fixtures::start_model(ns).await?;
        ns.apply(&fixtures::scripted_agent(
            "scripted",
            &fixtures::model_url(ns, "python"),
        ))
        .await?;
        ns.ready(AGENT, "scripted").await?;
        let (_forward, server) = reach(ns, "scripted").await?;
        let pods = sdk::run_sdk_tests(&ns.cluster.settings, server.base(), "scripted").await?;
        ensure!(pods.len() > 4, "too few runs: {pods:?}");
        let different: BTreeSet<_> = pods.iter().collect();
        ensure!(different.len() == pods.len(), "two scripts shared a pod: {pods:?}");
        none_left(&ns.cluster, &pods).await
    })
    .await
}

#[tokio::test]
async fn s14_openais_sdks_ask_in_every_way() -> Result<()> {
    in_namespace("clients", async |ns| {
        fixtures::start_model(ns).await?;
        ns.apply(&fixtures::guarded_agent("guarded", &fixtures::model_url(ns, "sdk")))
            .await?;
        ns.ready(AGENT, "guarded").await?;
        let (_forward, server) = reach(ns, "guarded").await?;
        let (_model, model) = forward(ns, "svc/model").await?;
        let subject = sdk::Subject {
            url: server.base(),
            agent: "guarded",
            key: fixtures::KEY,
            model: &model,
        };
        sdk::run_client_tests(&ns.cluster.settings, &subject).await
    })
    .await
}

/// The agent's server, through a port-forward to its Service.
pub(crate) async fn reach(ns: &Namespace, agent: &str) -> Result<(Server, Agents)> {
    let (forward, url) = forward(ns, &format!("svc/agent-{agent}")).await?;
    Ok((forward, Agents::at(url)?))
}

/// What serves in the namespace, `svc/NAME` or `pod/NAME`, and its URL here.
pub(crate) async fn forward(ns: &Namespace, target: &str) -> Result<(Server, String)> {
    let mut kubectl = ns.cluster.kubectl();
    kubectl.args(["--namespace", &ns.name]);
    let (forward, address) = port_forward(kubectl, target, 8080).await?;
    Ok((forward, format!("http://{address}")))
}

/// None of `names` is the name of a pod any more.
async fn none_left(cluster: &Cluster, names: &[String]) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), release::SCRIPTS_NAMESPACE);
    eventually("the used pods are gone", Duration::from_secs(30), async || {
        let all = pods.list(&ListParams::default()).await?;
        let left: Vec<_> = all
            .iter()
            .map(ResourceExt::name_any)
            .filter(|name| names.contains(name))
            .collect();
        Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
    })
    .await
}
