//! S13: one trace leads from a client through an agent's pod to the scripts manager, and both tell a receiver of OTLP in the
//! cluster, from behind their NetworkPolicies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{EnvVar, Pod},
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use reqwest::{Client, StatusCode};
use rockbot_e2e::{
    Namespace,
    chat::user,
    cluster::AGENT,
    eventually, fixtures, in_namespace,
    parts::{ADMISSION, MANAGER, Parts, WALL},
    process::port_forward,
    wait::Seen,
};
use serde_json::Value;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn s13_one_trace_leads_from_a_client_to_the_scripts_manager() -> Result<()> {
    in_namespace("telemetry", async |ns| {
        // The scripted model takes traces, too.
        fixtures::start_model(ns).await?;
        ns.apply(&fixtures::scripted_agent("one", &fixtures::model_url(ns, "python")))
            .await?;
        ns.ready(AGENT, "one").await?;
        let receiver = format!("http://model.{}.svc:8080/otlp/traced", ns.name);
        let values = [format!("telemetry.otlp.endpoint={receiver}")];
        let templates = [&MANAGER[..], &[ADMISSION, WALL]].concat();
        Parts::with(ns, &templates, &[&values[0]], async |parts| {
            parts.open_manager().await?;
            start_agent(&parts, &receiver).await?;
            ask(ns).await?;
            is_one_trace(&told(ns).await?)?;
            parts.logged(TRACE).await
        })
        .await
    })
    .await
}

/// A pod as the operator makes it, that calls this test's scripts manager and sends traces.
async fn start_agent(parts: &Parts, receiver: &str) -> Result<()> {
    let ns = &parts.ns;
    let deployment = ns.api::<Deployment>().get("agent-one").await?;
    let template = deployment.spec.template;
    let mut spec = template.spec.context("no pod")?;
    let manager = format!("http://{}.{}.svc:8080", parts.manager(), ns.name);
    let more = [
        ("ROCKBOT_SCRIPTS_MANAGER_URL", manager.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver),
        ("OTEL_SERVICE_NAME", "agent-one"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let variables = spec.containers[0].env.get_or_insert_default();
    variables.retain(|variable| more.iter().all(|(name, _)| variable.name != *name));
    variables.extend(more.map(|(name, value)| EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    }));
    let pod = Pod {
        metadata: ObjectMeta {
            name: Some("traced".into()),
            labels: template.metadata.and_then(|metadata| metadata.labels),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    };
    let pods: Api<Pod> = ns.api();
    pods.create(&PostParams::default(), &pod).await?;
    ns.kubectl(&["wait", "pod/traced", "--for=condition=Ready", "--timeout=60s"])
        .await
        .map(drop)
}

async fn ask(ns: &Namespace) -> Result<()> {
    let mut kubectl = ns.cluster.kubectl();
    kubectl.args(["--namespace", &ns.name]);
    let (_forward, address) = port_forward(kubectl, "pod/traced", 8080).await?;
    let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
    let answer = http
        .post(format!("http://{address}/one/chat/completions"))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&user("```python\nprint(6 * 7)\n```"))
        .send()
        .await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status == StatusCode::OK && text.contains("42"), "{status}: {text}");
    Ok(())
}

/// The spans that the receiver got, once the scripts manager's is among them.
async fn told(ns: &Namespace) -> Result<Vec<Value>> {
    let mut kubectl = ns.cluster.kubectl();
    kubectl.args(["--namespace", &ns.name]);
    let (_forward, address) = port_forward(kubectl, "svc/model", 8080).await?;
    let http = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    eventually("both have told of the trace", Duration::from_secs(30), async || {
        let received: Value = http
            .get(format!("http://{address}/otlp/traced"))
            .send()
            .await?
            .json()
            .await?;
        let spans = received["spans"].as_array().cloned().unwrap_or_default();
        let all_are_there = ["invoke_agent one", "POST /v1/scripts"]
            .iter()
            .all(|name| spans.iter().any(|span| span["name"] == *name));
        Ok(if all_are_there {
            Seen::Done(spans)
        } else {
            Seen::NotYet(received.to_string())
        })
    })
    .await
}

fn is_one_trace(spans: &[Value]) -> Result<()> {
    let find = |name: &str| {
        let found = spans.iter().find(|span| span["name"] == name);
        found.with_context(|| format!("no {name} in {spans:#?}"))
    };
    ensure!(spans.iter().all(|span| span["trace_id"] == TRACE), "{spans:#?}");
    let invoked = find("invoke_agent one")?;
    let tool = find("execute_tool execute_python_script")?;
    let script = find("POST /v1/scripts")?;
    ensure!(invoked["parent_span_id"] == CALLER, "{invoked}");
    ensure!(tool["parent_span_id"] == invoked["span_id"], "{tool}");
    ensure!(script["parent_span_id"] == tool["span_id"], "{script}");
    ensure!(
        invoked["service"] == "agent-one" && script["service"] != "agent-one",
        "{invoked} {script}"
    );
    let attributes = &script["attributes"];
    ensure!(
        attributes["rockbot.script.outcome"] == "succeeded"
            && attributes["rockbot.script.exit_code"] == 0
            && attributes["rockbot.script.queue_ms"].is_number()
            && attributes["rockbot.script.cold"].is_boolean(),
        "{attributes}"
    );
    Ok(())
}
