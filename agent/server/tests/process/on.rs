//! With a receiver: one trace from the caller to the sandbox, the metrics of `/metrics`, and no secret.

use rockbot_fakes::{
    FakeCollector,
    otlp::{Received, Span},
};
use serde_json::{Value, json};

use crate::{
    CALLER,
    agent::{Agent, Ended, KEY, QUESTION, SCRIPT, TOKEN},
    traceparent,
};

/// Asks an agent that sends to a receiver, ends it, and returns what the receiver got until then.
async fn observe(more: &[(&str, &str)]) -> (Saw, Received, Ended) {
    let collector = FakeCollector::start().await.unwrap();
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Authorization=Bearer%20c0llector".to_owned(),
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.namespace.name=shops".to_owned()),
    ];
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let agent = Agent::start(&variables).await;
    agent
        .ask(
            agent
                .request()
                .header("traceparent", traceparent())
                .header("tracestate", "vendor=a"),
        )
        .await;
    let saw = Saw {
        model: agent.model_saw(),
        scripts: agent.scripts.traceparents(),
    };
    // The batches of spans and the metrics leave every 5 and 60 seconds: what is there now was sent by the end.
    let ended = agent.end().await;
    (saw, collector.received(), ended)
}

/// The `traceparent`s that reached others.
struct Saw {
    model: Vec<String>,
    scripts: Vec<String>,
}

fn find<'a>(received: &'a Received, name: &str) -> Vec<&'a Span> {
    received.spans.iter().filter(|span| span.name == name).collect()
}

fn parent(of: &Span) -> String {
    format!("00-{}-{}-01", of.trace_id, of.span_id)
}

#[tokio::test]
async fn s13_one_trace_leads_from_the_caller_to_the_model_and_the_sandbox() {
    let (saw, received, ended) = observe(&[]).await;
    let names: Vec<_> = received.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let (invoked, chats) = (find(&received, "invoke_agent shop"), find(&received, "chat gpt-test"));
    let tools = find(&received, "execute_tool execute_python_script");
    let ([invoked], [first, second], [tool]) = (&invoked[..], &chats[..], &tools[..]) else {
        panic!("{:#?}", received.spans)
    };
    assert_eq!((&*invoked.trace_id, &*invoked.parent_span_id), CALLER);
    for span in [first, second, tool] {
        assert_eq!(
            (&span.trace_id, &span.parent_span_id),
            (&invoked.trace_id, &invoked.span_id),
            "{span:?}"
        );
    }
    assert_eq!([invoked.kind, first.kind, tool.kind], ["server", "client", "internal"]);
    assert_eq!(saw.model, [parent(first), parent(second)]);
    assert_eq!(saw.scripts, [parent(tool)]);
    assert!(
        received
            .spans
            .iter()
            .all(|span| span.service == "rockbot-agent" && !span.is_error)
    );

    let attributes = json!(first.attributes);
    assert_eq!(attributes["gen_ai.provider.name"], "openai");
    assert_eq!(attributes["gen_ai.request.model"], "gpt-test");
    assert_eq!(attributes["gen_ai.response.finish_reasons"], json!(["tool_calls"]));
    assert_eq!(attributes["server.address"], "127.0.0.1");
    assert!(
        attributes["gen_ai.usage.input_tokens"].as_i64() > Some(0),
        "{attributes}"
    );
    assert!(
        attributes["gen_ai.response.time_to_first_chunk"].as_f64() > Some(0.0),
        "{attributes}"
    );
    assert_eq!(json!(invoked.attributes)["gen_ai.agent.name"], "shop");
    assert_eq!(json!(tool.attributes)["gen_ai.tool.name"], "execute_python_script");

    let is_of_request = |line: &&Value| line["message"] == "request ended";
    let line = ended.log.iter().find(is_of_request).unwrap();
    assert_eq!(line["spans"][0]["trace_id"], CALLER.0, "{line}");
}

#[tokio::test]
async fn s13_metrics_are_sent_as_they_are_scraped() {
    let (_, received, _) = observe(&[("OTEL_SERVICE_NAME", "agent-shop")]).await;
    let count = |name: &str, attributes: Value| {
        let wanted = attributes.as_object().unwrap();
        let found = received.points.iter().rev().find(|point| {
            let has = |(name, value): (&String, &Value)| point.attributes.get(name) == Some(value);
            point.name == name && wanted.iter().all(has)
        });
        let point = found.unwrap_or_else(|| panic!("no {name} with {attributes} in {:#?}", received.points));
        assert_eq!(point.service, "agent-shop");
        point.value
    };
    let model = json!({ "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-test" });
    for (name, attributes, expected) in [
        ("gen_ai.client.operation.duration", model.clone(), 2.0),
        ("gen_ai.client.operation.time_to_first_chunk", model, 2.0),
        (
            "gen_ai.client.token.usage",
            json!({ "gen_ai.token.type": "input" }),
            2.0,
        ),
        (
            "gen_ai.invoke_agent.duration",
            json!({ "gen_ai.agent.name": "shop" }),
            1.0,
        ),
        (
            "gen_ai.execute_tool.duration",
            json!({ "gen_ai.tool.name": "execute_python_script" }),
            1.0,
        ),
        ("rockbot.tool.invoke.duration", json!({ "status": "ok" }), 1.0),
        ("rockbot.tool.invocations", json!({ "status": "ok" }), 1.0),
        ("rockbot_requests", json!({ "agent": "shop", "status": "ok" }), 1.0),
    ] {
        assert!((count(name, attributes) - expected).abs() < 1e-9, "{name}");
    }
    let duration = received
        .points
        .iter()
        .find(|point| point.name == "gen_ai.client.operation.duration");
    assert_eq!(duration.unwrap().unit, "s");
}

#[tokio::test]
async fn s13_no_secret_is_sent_and_what_is_said_only_on_request() {
    let capture = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    for (value, is_told) in [("false", false), ("true", true)] {
        let (_, received, ended) = observe(&[(capture, value)]).await;
        for header in &received.headers {
            assert_eq!(header["authorization"], "Bearer c0llector");
        }
        let log = ended.log.iter().map(Value::to_string).collect::<String>();
        for secret in [KEY, TOKEN, "c0llector"] {
            assert!(!received.text.contains(secret), "{secret} was sent");
            assert!(!log.contains(secret), "{secret} is in the log");
        }
        for said in [QUESTION, SCRIPT, "It is 42."] {
            assert_eq!(received.text.contains(said), is_told, "{said}, {capture}={value}");
        }
        if is_told {
            let tool = &find(&received, "execute_tool execute_python_script")[0].attributes;
            assert_eq!(tool["gen_ai.tool.call.result"], "42\n");
        }
    }
}

#[tokio::test]
async fn s13_a_sampler_decides_for_all_who_follow() {
    let (saw, received, _) = observe(&[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    assert!(received.spans.is_empty(), "{:?}", received.spans);
    assert!(!received.points.is_empty(), "metrics are not sampled");
    for parent in saw.model.iter().chain(&saw.scripts) {
        assert!(
            parent.starts_with(&format!("00-{}-", CALLER.0)) && parent.ends_with("-00"),
            "{parent}"
        );
    }
}
