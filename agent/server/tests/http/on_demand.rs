//! S7: agents that a function describes start when somebody asks for them, and stay.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Mutex},
};

use futures::future::join_all;
use reqwest::StatusCode;
use rockbot_agent::Environment;
use rockbot_agent_server::{AgentResolver, OnDemand};
use serde_json::{Value, json};

use crate::site::{Site, agent, user};

/// Configurations by the names that lead to them.
type Described = Arc<Mutex<BTreeMap<&'static str, Value>>>;

fn on_demand(described: &Described) -> OnDemand {
    let described = Arc::clone(described);
    OnDemand::new(move |name| {
        let config = described.lock().unwrap().get(&*name).cloned();
        ready(
            config
                .map(|config| serde_json::from_value(config).map_err(Into::into))
                .transpose(),
        )
    })
}

/// A server whose agents are described; those that are described by now have the names that lead to them.
async fn site(names: &[&'static str]) -> (Site, Described) {
    let site = Site::start().await;
    let url = site.model.base_url("mcp");
    let described = names.iter().map(|name| (*name, agent(name, &url)));
    let described = Arc::new(Mutex::new(described.collect()));
    site.server.set_resolver(Arc::new(on_demand(&described)));
    (site, described)
}

async fn models(site: &Site) -> Vec<Value> {
    let (_, models) = site.get_json("/v1/models").await;
    let models = models["data"].as_array().unwrap();
    models.iter().map(|model| model["id"].clone()).collect()
}

/// A client's follow-up refers to what the agent has kept of the turn before.
#[tokio::test]
async fn s7_s8_it_is_the_same_agent_the_next_time() {
    let (site, _) = site(&["red"]).await;
    let tools = json!([{ "type": "function", "function": { "name": "window" } }]);
    let question = "CALL execute_python_script {\"script\":\"kept\"}\nCALL window {}";
    let mut body = json!({ "tools": tools, "messages": [{ "role": "user", "content": question }] });
    let (_, answer) = site.ask_at("/red/chat/completions", body.clone()).await;
    let message = &answer["choices"][0]["message"];
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(message.clone());
    messages.push(json!({ "role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "open" }));
    let (_, answer) = site.ask_at("/red/chat/completions", body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "kept\nopen", "{answer}");
}

#[tokio::test]
async fn s7_it_starts_once_however_many_ask_first() {
    let described = Described::default();
    let config = json!({ "name": "red", "model": { "provider": "Demo" } });
    described.lock().unwrap().insert("red", config);
    let (agents, environment) = (on_demand(&described), Environment::default());
    let all = join_all((0..64).map(|_| agents.resolve("red", &environment))).await;
    let all: Vec<_> = all.into_iter().map(|found| found.unwrap().unwrap()).collect();
    assert!(all.iter().all(|agent| Arc::ptr_eq(agent, &all[0])));
}

#[tokio::test]
async fn s7_it_changes_and_ends_with_its_description() {
    let (site, described) = site(&["red", "blue"]).await;
    let told = async || {
        assert_eq!(
            site.ask_at("/red/chat/completions", user("hello")).await.0,
            StatusCode::OK
        );
        let asked = site.model.requests("mcp").pop().unwrap().body;
        asked["messages"][0]["content"].as_str().unwrap().to_owned()
    };
    assert_eq!(told().await, "You are red.");
    assert_eq!(models(&site).await, ["red"], "nobody has asked for blue");
    described.lock().unwrap().get_mut("red").unwrap()["instructions"] = json!("You are new.");
    assert_eq!(told().await, "You are new.");
    described.lock().unwrap().remove("red");
    let (status, answer) = site.ask_at("/red/chat/completions", user("hello")).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("agent_not_found"))
    );
    assert_eq!(models(&site).await, [""; 0], "it has ended");
}

#[tokio::test]
async fn s7_several_names_lead_to_one_agent() {
    let (site, described) = site(&["red"]).await;
    let red = described.lock().unwrap()["red"].clone();
    described
        .lock()
        .unwrap()
        .extend([("gpt-4o", red.clone()), ("health", red)]);
    let ask = async |model: &str| {
        let mut body = user("hello");
        body["model"] = json!(model);
        site.ask_at("/v1/chat/completions", body).await
    };
    for name in ["red", "gpt-4o"] {
        let (status, answer) = ask(name).await;
        assert_eq!((status, &answer["model"]), (StatusCode::OK, &json!("red")), "{answer}");
    }
    assert_eq!(models(&site).await, ["red"]);
    assert_eq!(
        ask("health").await.0,
        StatusCode::NOT_FOUND,
        "no agent has the name of a route"
    );
}

#[tokio::test]
async fn s7_s11_a_description_that_is_no_agent_is_the_servers_mistake() {
    let (site, described) = site(&["red"]).await;
    described.lock().unwrap().get_mut("red").unwrap()["timeZone"] = json!("Mars/Olympus_Mons");
    let (status, answer) = site.ask_at("/red/chat/completions", user("hello")).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("agent_lookup_failed"))
    );
    assert!(!answer.to_string().contains("Olympus"), "{answer}");
}
