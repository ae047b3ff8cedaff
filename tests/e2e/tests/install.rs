//! K3, K1: from a cluster without RockBot to an answer, by the very commands of the README.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rockbot_e2e::{
    Cluster,
    cluster::AGENT,
    in_namespace,
    process::{self, port_forward},
    release,
};

const CURL: &str = r#"{"messages":[{"role":"user","content":"run this:\n```python\nprint(6*7)\n```"}]}"#;

#[tokio::test]
async fn k3_from_nothing_to_an_answer() -> Result<()> {
    let cluster = Cluster::connect().await?;
    release::remove(&cluster).await?;
    let start = Instant::now();
    release::install(&cluster).await?;
    println!("helm install: {:.1} s", start.elapsed().as_secs_f32());

    in_namespace("install", async |ns| {
        let start = Instant::now();
        let example = cluster.settings.repository().join("crds/examples/quickstart.yaml");
        ns.kubectl(&["apply", "--filename", &example.to_string_lossy()]).await?;
        ns.kubectl(&["wait", "--for=condition=Ready", "agent/assistant", "--timeout=60s"])
            .await?;
        println!("kubectl apply until Ready: {:.1} s", start.elapsed().as_secs_f32());

        let mut kubectl = cluster.kubectl();
        kubectl.args(["--namespace", &ns.name]);
        let (_forward, address) = port_forward(kubectl, "svc/agent-assistant", 8080).await?;
        let mut curl = process::command("curl".as_ref());
        curl.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]);
        curl.arg(format!("http://{address}/assistant/chat/completions"));
        curl.args(["-H", "content-type: application/json", "-d", CURL]);
        let answer = process::check(curl, "", Duration::from_secs(60)).await?;
        ensure!(answer.contains("42"), "the script's output is missing: {answer}");
        ensure!(
            answer.contains("Demo") || answer.contains("demo"),
            "the Demo model does not say that it is one: {answer}"
        );
        ns.ready(AGENT, "assistant").await.map(drop)
    })
    .await
}
