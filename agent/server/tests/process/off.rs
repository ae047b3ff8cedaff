//! Without a receiver, and with one that is away: nothing is started, nothing is lost, and the trace is passed on.

use std::{process::Stdio, time::Duration};

use tokio::{net::TcpListener, time::timeout};

use crate::{
    CALLER,
    agent::{Agent, PATIENCE, command},
    traceparent,
};

#[tokio::test]
async fn s13_without_a_receiver_the_trace_is_passed_on_and_nothing_else_is_done() {
    let agent = Agent::start(&[]).await;
    assert_eq!(agent.threads().len(), 1, "{:?}", agent.threads());
    agent.ask(agent.request().header("traceparent", traceparent())).await;
    assert_eq!(agent.model_saw(), [traceparent(), traceparent()]);
    assert_eq!(agent.scripts.traceparents(), [traceparent()]);
    let ended = agent.end().await;
    let line = ended
        .log
        .iter()
        .find(|line| line["message"] == "request ended")
        .unwrap();
    assert_eq!(line["spans"][0]["trace_id"], CALLER.0, "{line}");
}

#[tokio::test]
async fn s13_a_receiver_that_is_away_is_complained_of_once_and_holds_nobody_up() {
    let address = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let agent = Agent::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100".to_owned()),
    ])
    .await;
    agent.ask(agent.request().header("traceparent", traceparent())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ended = agent.end().await;
    let complaints = ended.log.iter().filter(|line| {
        let said = line["message"].as_str().unwrap_or_default();
        said.contains("the OTLP receiver does not take what it is sent")
    });
    let mut urls: Vec<_> = complaints.map(|line| line["url"].as_str().unwrap()).collect();
    urls.sort_unstable();
    let expected = ["metrics", "traces"].map(|signal| format!("http://{address}/v1/{signal}"));
    assert_eq!(urls, expected, "one of each: {:#?}", ended.log);
    // It serves three seconds more, and has one and a half for what was not sent.
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
}

#[tokio::test]
async fn s13_a_variable_that_means_nothing_is_named() {
    for (variable, value, words) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "must be an http or https URL",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "allowed is http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Authorization: s3cret",
            "has no name=value",
        ),
    ] {
        let agent = command()
            .args(["--config", "/nowhere"])
            .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:9/")
            .env(variable, value)
            .stdout(Stdio::piped())
            .output();
        let output = timeout(PATIENCE, agent).await.unwrap().unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success());
        assert!(
            log.contains(variable) && log.contains(words) && !log.contains("s3cret"),
            "{log}"
        );
    }
}
