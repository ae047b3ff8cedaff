//! D4: agents hand tasks to each other across pods, on behalf of whoever asked the first, in one trace. A circle is
//! refused, and the network lets nothing else through.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use reqwest::Client;
use rockbot_e2e::{
    Namespace,
    chat::{DEADLINE, user},
    cluster::AGENT,
    eventually, fixtures, in_namespace,
    model::Model,
    namespace::find_condition,
    process::port_forward,
    wait::Seen,
};
use serde_json::{Value, json};

use crate::agents::reach;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736";

const WALLED: &str = "
apiVersion: rockbot.dev/v1alpha1
kind: Agent
metadata: { name: walled }
spec:
  model: { provider: Demo }
  handoffs: [{ name: onward, type: Agent, target: b, description: Knows more. }]
";

#[tokio::test]
async fn d4_agents_hand_tasks_to_each_other_across_pods() -> Result<()> {
    in_namespace("handoffs", async |ns| {
        fixtures::start_model(ns).await?;
        let agent = |name: &str, to: &str| fixtures::handing_agent(name, &fixtures::model_url(ns, name), to);
        ns.apply(&agent("a", "b")).await?;
        ns.ready(AGENT, "a").await?;
        resolved(ns, "a", "AgentNotFound").await?;
        ns.apply(&agent("b", "c")).await?;
        ns.apply(&agent("c", "a")).await?;
        for name in ["b", "c"] {
            ns.ready(AGENT, name).await?;
        }
        resolved(ns, "a", "Resolved").await?;

        let mut kubectl = ns.cluster.kubectl();
        kubectl.args(["--namespace", &ns.name]);
        let (_forward, address) = port_forward(kubectl, "svc/model", 8080).await?;
        let model = Model::at(address)?;
        for name in ["a", "b", "c"] {
            model.script(name, &fixtures::handing_steps(name)).await?;
        }
        let (_agent, a) = reach(ns, "a").await?;
        let request = Client::builder().no_proxy().timeout(DEADLINE).build()?;
        let request = request
            .post(format!("{}/a/chat/completions", a.base()))
            .header("x-user-id", "ada")
            .header("x-payment-user-id", "bank")
            .header("traceparent", format!("{TRACE}-00f067aa0ba902b7-01"));
        let answer: Value = request.json(&user("go")).send().await?.json().await?;
        ensure!(answer["choices"][0]["message"]["content"] == "a is done", "{answer}");
        everybody_knew_whom_it_was_for(&model).await?;
        the_circle_was_refused(&model).await?;
        only_targets_are_reached(ns).await
    })
    .await
}

async fn everybody_knew_whom_it_was_for(model: &Model) -> Result<()> {
    for (name, origin, task) in [("a", "anonymous", "go"), ("b", "ada", "from a"), ("c", "ada", "from b")] {
        let requests = model.requests(name).await?;
        ensure!(requests.len() == 2, "{name} was asked {} times", requests.len());
        let (headers, messages) = (&requests[0]["headers"], &requests[0]["body"]["messages"]);
        let who = format!("For ada, who pays as bank; began: {origin}.");
        ensure!(messages[0]["content"] == who.as_str(), "{name}: {messages}");
        ensure!(messages[1]["content"] == task, "{name}: {messages}");
        let trace = headers["traceparent"].as_str().unwrap_or_default();
        ensure!(trace.starts_with(TRACE), "{name} is in the trace {trace:?}");
    }
    Ok(())
}

async fn the_circle_was_refused(model: &Model) -> Result<()> {
    for (name, success, words) in [
        ("a", true, "b is done"),
        ("b", true, "c is done"),
        ("c", false, "a → b → c → a"),
    ] {
        let requests = model.requests(name).await?;
        let messages = requests[1]["body"]["messages"].as_array().context("no messages")?;
        let result = messages
            .iter()
            .find(|message| message["role"] == "tool")
            .context("no result")?;
        let result: Value = serde_json::from_str(result["content"].as_str().unwrap_or_default())?;
        let text = result["result"].as_str().unwrap_or_default();
        ensure!(result["success"] == success && text.contains(words), "{name}: {result}");
    }
    Ok(())
}

/// A pod with the labels of an agent that hands tasks to `b` reaches the pods of `b`, and not those of `c`. Its model is
/// no pod of the namespace: a rule for that would let all of them through.
async fn only_targets_are_reached(ns: &Namespace) -> Result<()> {
    ns.apply(WALLED).await?;
    ns.ready(AGENT, "walled").await?;
    let ip = async |agent: &str| {
        let pods: Api<Pod> = ns.api();
        let list = ListParams::default().labels(&format!("app.kubernetes.io/instance={agent}"));
        let pods = pods.list(&list).await?;
        let ip = pods.items.into_iter().find_map(|pod| pod.status?.pod_ip);
        ip.with_context(|| format!("no pod of {agent} has an address"))
            .map(|ip| format!("{ip}:8080"))
    };
    let targets = json!({ "b": ip("b").await?, "c": ip("c").await? });
    let seen = fixtures::knock(ns, &BTreeMap::new(), &targets).await?;
    ensure!(
        seen == json!({ "b": "open", "c": "open" }),
        "an ordinary pod sees {seen}"
    );
    let seen = fixtures::knock(ns, &fixtures::agent_labels("walled"), &targets).await?;
    ensure!(
        seen == json!({ "b": "open", "c": fixtures::NO_ANSWER }),
        "a pod of the agent sees {seen}"
    );
    Ok(())
}

/// Waits until the condition `ResolvedRefs` of an Agent has this reason.
async fn resolved(ns: &Namespace, name: &str, reason: &str) -> Result<()> {
    let api = ns.rockbot(AGENT);
    eventually(
        &format!("ResolvedRefs of {name} is {reason}"),
        Duration::from_secs(30),
        async || {
            let agent = api.get(name).await?;
            let conditions = &agent.data["status"]["conditions"];
            let found = find_condition(conditions, "ResolvedRefs");
            let matches = found.is_some_and(|condition| condition["reason"] == reason);
            Ok(Seen::when(matches, || conditions.to_string()))
        },
    )
    .await
}
