//! An Agent with a NodePort is reached from outside the cluster, and one without is not.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Service as CoreService};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use rockbot_e2e::{Namespace, cluster::AGENT, eventually, fixtures::knock, in_namespace, wait::Seen};
use serde_json::json;

/// Long enough for a connection within one machine.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn k1_a_node_port_is_open_and_everything_else_is_not() -> Result<()> {
    in_namespace("outside", async |ns| {
        for (name, type_) in [("open", "NodePort"), ("closed", "ClusterIP")] {
            let spec = json!({ "model": { "provider": "Demo" }, "service": { "type": type_ } });
            let agent = json!({
                "apiVersion": "rockbot.dev/v1alpha1", "kind": "Agent", "metadata": { "name": name }, "spec": spec,
            });
            ns.apply(&agent.to_string()).await?;
            ns.ready(AGENT, name).await?;
        }
        // The client's address must stay what it is: from the node itself every pod may be reached.
        let local = Patch::Merge(json!({ "spec": { "externalTrafficPolicy": "Local" } }));
        let services = ns.api::<CoreService>();
        services.patch("agent-open", &PatchParams::default(), &local).await?;
        ns.apply(&way_in("closed")).await?;

        let open = url(ns, "agent-open").await?;
        eventually(
            "the agent is reached from outside",
            Duration::from_secs(30),
            async || {
                let answer = health(&open).await?;
                Ok(Seen::when(answer, || "no".to_owned()))
            },
        )
        .await?;
        let inside = json!({ "way-in": format!("way-in.{}.svc:8080", ns.name) });
        let seen = knock(ns, &BTreeMap::new(), &inside).await?;
        ensure!(seen["way-in"] == "open", "not even its neighbours reach it: {seen}");
        let closed = url(ns, "way-in").await?;
        ensure!(
            health(&closed).await.is_err(),
            "an agent without a NodePort is reached at {closed}"
        );
        Ok(())
    })
    .await
}

/// A NodePort that somebody else has made for the pods of an agent.
fn way_in(agent: &str) -> String {
    let selector = json!({ "app.kubernetes.io/component": "agent", "app.kubernetes.io/instance": agent });
    let ports = json!([{ "port": 8080 }]);
    let spec = json!({ "type": "NodePort", "externalTrafficPolicy": "Local", "selector": selector, "ports": ports });
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "way-in" }, "spec": spec }).to_string()
}

/// Where a port of the cluster's node leads to a Service.
async fn url(ns: &Namespace, service: &str) -> Result<String> {
    let ports = ns
        .api::<CoreService>()
        .get(service)
        .await?
        .spec
        .and_then(|spec| spec.ports);
    let port = ports
        .iter()
        .flatten()
        .find_map(|port| port.node_port)
        .context("no node port")?;
    let nodes: Api<Node> = Api::all(ns.cluster.client.clone());
    let nodes = nodes.list(&ListParams::default()).await?;
    let addresses = nodes.iter().filter_map(|node| node.status.as_ref()?.addresses.as_ref());
    let internal = addresses.flatten().find(|address| address.type_ == "InternalIP");
    Ok(format!(
        "http://{}:{port}/health",
        internal.context("no node has an address")?.address
    ))
}

/// Whether an agent says that it is well; an error when nobody answers.
async fn health(url: &str) -> Result<bool> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    Ok(client.get(url).send().await?.status().is_success())
}
