//! What is reported for what was found.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use rockbot_crds::{
    Agent, McpServer,
    conditions::{ConditionType, find},
    mcp_server::Tool,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    inputs::{References, resolve},
    validate::{validate_agent, validate_mcp_server},
};

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn agent(spec: &Value) -> Agent {
    let metadata = json!({ "name": "a", "namespace": "n", "uid": "u", "generation": 3 });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

fn demo() -> Agent {
    agent(&json!({ "model": { "provider": "Demo" }, "tools": { "scripts": {} } }))
}

fn pods(status: &Value) -> Outcome {
    let deployment = json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 2, "selector": {}, "template": {} }, "status": status });
    Outcome::Applied(Some(Box::new(
        serde_json::from_value::<Deployment>(deployment).unwrap(),
    )))
}

/// Type, status and reason of every condition.
fn told(conditions: &[Condition]) -> Vec<String> {
    let tell = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
    conditions.iter().map(tell).collect()
}

fn all_up() -> Value {
    json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2 })
}

#[test]
fn ready_means_that_the_whole_spec_is_rolled_out() {
    let failing = |kind: &str, reason: &str| json!({ "observedGeneration": 2, "conditions": [{ "type": kind, "status": "True", "reason": reason, "message": "why" }] });
    let mut late = failing("Progressing", "ProgressDeadlineExceeded");
    late["conditions"][0]["status"] = json!("False");
    let progressing = ["Ready=False Progressing", "Reconciling=True Progressing"];
    let failed = ["Ready=False RolloutFailed", "Stalled=True RolloutFailed"];
    for (status, expected) in [
        (all_up(), &["Ready=True Available"][..]),
        (json!({}), &progressing),
        // The Deployment's controller has not seen the last change.
        (
            json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 }),
            &progressing,
        ),
        // Old pods still serve.
        (
            json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2 }),
            &progressing,
        ),
        (
            json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1 }),
            &progressing,
        ),
        (failing("ReplicaFailure", "FailedCreate"), &failed),
        (late, &failed),
    ] {
        let reported = agent_status(&demo(), &pods(&status), &References::default(), &time(1));
        assert_eq!(told(&reported.conditions), expected, "{status}");
        assert!(
            reported
                .conditions
                .iter()
                .all(|condition| condition.observed_generation == Some(3))
        );
    }
}

#[test]
fn what_keeps_children_from_being_applied_is_told() {
    let conflict = Outcome::Conflict {
        kind: "Service".into(),
        name: "agent-a".into(),
    };
    let refused = Outcome::Refused {
        message: "quota".into(),
    };
    let invalid = Outcome::Invalid(validate_agent(&agent(&json!({ "model": { "provider": "OpenAI" } }))).unwrap_err());
    for (outcome, reason, words) in [
        (conflict, "NameConflict", "Service agent-a"),
        (refused, "ApplyFailed", "quota"),
        (invalid, "InvalidSpec", "spec.model.name is required"),
    ] {
        let reported = agent_status(&demo(), &outcome, &References::default(), &time(1));
        assert_eq!(
            told(&reported.conditions),
            [format!("Ready=False {reason}"), format!("Stalled=True {reason}")]
        );
        assert!(
            reported.conditions[0].message.contains(words),
            "{}",
            reported.conditions[0].message
        );
    }
}

#[test]
fn a_status_of_an_unchanged_world_is_the_same_at_any_time() {
    let mut agent = demo();
    let first = agent_status(&agent, &pods(&json!({})), &References::default(), &time(1));
    agent.status = Some(first.clone());
    assert_eq!(
        agent_status(&agent, &pods(&json!({})), &References::default(), &time(2)),
        first
    );

    let up = agent_status(&agent, &pods(&all_up()), &References::default(), &time(3));
    assert_eq!(
        find(&up.conditions, ConditionType::Ready).unwrap().last_transition_time,
        time(3)
    );
    assert_eq!(up.tools.as_deref(), Some("scripts"));
    assert_eq!(up.url.as_deref(), Some("http://agent-a.n.svc:8080/a"));
    let told = transition(&first.conditions, &up.conditions).unwrap();
    assert_eq!((told.is_warning, told.reason.as_str()), (false, "Available"));
    assert_eq!(transition(&up.conditions, &up.conditions), None);
    assert_eq!(transition(&[], &first.conditions), None);
}

#[test]
fn an_agent_runs_without_the_servers_that_are_not_there() {
    let named = agent(&json!({
        "model": { "provider": "Demo" },
        "tools": { "mcp": { "servers": [{ "name": "up" }, { "name": "down" }, { "name": "gone" }] } },
    }));
    let up = server(&Discovery::Found(discovered(1)), &pods(&all_up()));
    let down = server(&Discovery::Failed("no".into()), &pods(&all_up()));
    let valid = validate_agent(&named).unwrap();
    for (known, reason, words) in [
        (
            ["up", "down"].as_slice(),
            "ResolvedRefs=False McpServerNotFound",
            "gone",
        ),
        (&["up", "down", "gone"], "ResolvedRefs=False McpServerNotReady", "down"),
        (&["up", "down=up", "gone=up"], "ResolvedRefs=True Resolved", "ready"),
    ] {
        let find = |name: &str| {
            let known = known.iter().find(|known| known.split('=').next() == Some(name))?;
            Some(if known.ends_with("down") { &down } else { &up })
        };
        let reported = agent_status(&named, &pods(&all_up()), &resolve(&valid, find, |_| true), &time(1));
        assert_eq!(told(&reported.conditions), ["Ready=True Available", reason]);
        assert!(
            reported.conditions[1].message.contains(words),
            "{}",
            reported.conditions[1].message
        );
    }
}

#[test]
fn d4_a_handoff_to_an_agent_that_is_not_there_is_told() {
    let named = agent(&json!({
        "model": { "provider": "Demo" },
        "handoffs": [
            { "name": "one", "type": "Agent", "target": "b", "description": "d" },
            { "name": "two", "type": "Agent", "target": "c", "description": "d" },
            { "name": "three", "type": "Human", "description": "d" },
        ],
    }));
    let valid = validate_agent(&named).unwrap();
    for (there, reason, words) in [
        (
            &["b"][..],
            "ResolvedRefs=False AgentNotFound",
            "no Agent in this namespace: c;",
        ),
        (&["b", "c"], "ResolvedRefs=True Resolved", "is there"),
    ] {
        let named_ones = resolve(&valid, |_| None, |name| there.contains(&name));
        let reported = agent_status(&named, &pods(&all_up()), &named_ones, &time(1));
        assert_eq!(told(&reported.conditions), ["Ready=True Available", reason]);
        let message = &reported.conditions[1].message;
        assert!(message.contains(words), "{message}");
    }
}

fn discovered(tools: usize) -> Discovered {
    let tool = |index| Tool {
        name: format!("t{index:03}"),
        description: Some("x".repeat(1000)),
    };
    Discovered {
        tools: (0..tools).map(tool).collect(),
        server_info: None,
        protocol_version: "2026-07-28".into(),
    }
}

/// An McpServer after its first status.
fn server(discovery: &Discovery, outcome: &Outcome) -> McpServer {
    let metadata = json!({ "name": "s", "namespace": "n", "uid": "u", "generation": 1 });
    let spec = json!({ "http": { "image": "i", "port": 1 }, "allowedTools": ["t000", "t001"] });
    let mut server: McpServer = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
    server.status = Some(mcp_server_status(&server, outcome, discovery, &time(1)));
    server
}

#[test]
fn k2_a_server_is_ready_once_its_tools_are_known() {
    for (outcome, discovery, expected, tools) in [
        (
            pods(&json!({})),
            Discovery::Pending,
            &["Ready=False Progressing", "Reconciling=True Progressing"][..],
            0,
        ),
        (
            pods(&all_up()),
            Discovery::Pending,
            &["Ready=False Discovering", "Reconciling=True Discovering"],
            0,
        ),
        (
            pods(&all_up()),
            Discovery::Failed("no".into()),
            &["Ready=False DiscoveryFailed", "Reconciling=True DiscoveryFailed"],
            0,
        ),
        (
            pods(&all_up()),
            Discovery::Found(discovered(9)),
            &["Ready=True ServerDiscovered"],
            2,
        ),
        (
            Outcome::Applied(None),
            Discovery::Found(discovered(1)),
            &["Ready=True ServerDiscovered"],
            1,
        ),
    ] {
        let status = server(&discovery, &outcome).status.unwrap();
        assert_eq!(told(&status.conditions), expected);
        assert_eq!(status.tools.len(), tools);
        assert!(
            status
                .tools
                .iter()
                .all(|tool| tool.description.as_ref().unwrap().len() == 256)
        );
    }
}

#[test]
fn k2_tools_are_remembered_while_the_server_is_the_same() {
    let mut known = server(&Discovery::Found(discovered(2)), &pods(&all_up()));
    let before = known.status.clone().unwrap();
    // A new operator knows nothing yet.
    assert_eq!(
        mcp_server_status(&known, &pods(&all_up()), &Discovery::Pending, &time(9)),
        before
    );
    // Pods come and go.
    let status = mcp_server_status(&known, &pods(&json!({})), &Discovery::Pending, &time(9));
    assert_eq!(status.tools, before.tools);
    // Another spec is another server.
    known.metadata.generation = Some(2);
    let status = mcp_server_status(&known, &pods(&all_up()), &Discovery::Pending, &time(9));
    assert_eq!(
        (status.tools.len(), status.conditions[0].reason.as_str()),
        (0, "Discovering")
    );
    assert!(validate_mcp_server(&known).is_ok());
}

#[test]
fn what_cannot_be_read_keeps_what_was_reported_of_it() {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "m", "observedGeneration": 2,
            "lastTransitionTime": "1970-01-01T00:00:01Z",
        })
    };
    let before = json!({
        "observedGeneration": 2, "url": "http://a", "selector": "x=y", "later": 1,
        "conditions": [condition("Ready", "True", "Available"), condition("Later", "True", "Later")],
    });
    let first = unreadable_status(&before, Some(3), "spec.model: unknown", &time(5));
    assert_eq!(
        first.pointer("/selector").zip(first.pointer("/later")),
        Some((&json!("x=y"), &json!(1)))
    );
    assert_eq!(first["observedGeneration"], 3);
    let conditions: Vec<Condition> = serde_json::from_value(first["conditions"].clone()).unwrap();
    assert_eq!(
        told(&conditions),
        ["Ready=False InvalidSpec", "Stalled=True InvalidSpec"]
    );
    assert!(
        conditions[0].message.starts_with("spec.model: unknown; "),
        "{}",
        conditions[0].message
    );
    assert_eq!(
        unreadable_status(&first, Some(3), "spec.model: unknown", &time(9)),
        first,
        "nothing is new"
    );
    let never = unreadable_status(&Value::Null, None, "why", &time(5));
    assert_eq!(never["conditions"][0]["reason"], "InvalidSpec");
}
