//! S7: agents that nobody has listed are found by name, at each request, by a resolver of any kind.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{body::Body, http::Request};
use reqwest::StatusCode;
use rockbot_agent::{Agent, Environment};
use rockbot_agent_server::{AgentResolver, Server, router};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::site::{Site, agent, chunks, text, user};

/// Names that are paths of the server itself.
const FIXED: [&str; 5] = ["health", "live", "metrics", "ready", "v1"];

/// Finds an agent for each team, and one for each fixed path. What is `broken` cannot be looked up, and what is `slow` takes for ever.
struct Teams {
    url: String,
    agents: Mutex<BTreeMap<String, Arc<Agent>>>,
    asked: Mutex<Vec<String>>,
}

impl Teams {
    fn at(url: &str) -> Arc<Self> {
        Arc::new(Self {
            url: url.to_owned(),
            agents: Mutex::default(),
            asked: Mutex::default(),
        })
    }
}

#[async_trait]
impl AgentResolver for Teams {
    async fn resolve(
        &self,
        name: &str,
        environment: &Environment,
    ) -> Result<Option<Arc<Agent>>, Box<dyn Error + Send + Sync>> {
        self.asked.lock().unwrap().push(name.to_owned());
        match name {
            "broken" => return Err("no route to db.internal:5432".into()),
            "slow" => std::future::pending().await,
            _ if !(name.starts_with("team-") || FIXED.contains(&name)) => return Ok(None),
            _ => {}
        }
        let mut agents = self.agents.lock().unwrap();
        if let Some(agent) = agents.get(name) {
            return Ok(Some(Arc::clone(agent)));
        }
        let found = Agent::start(serde_json::from_value(agent(name, &self.url))?, environment)?;
        agents.insert(name.to_owned(), Arc::clone(&found));
        Ok(Some(found))
    }

    async fn list(&self) -> Vec<Arc<Agent>> {
        self.agents.lock().unwrap().values().cloned().collect()
    }
}

async fn site() -> (Site, Arc<Teams>) {
    let site = Site::start().await;
    let url = site.model.base_url("mcp");
    let teams = Teams::at(&url);
    site.server.set_resolver(Arc::clone(&teams) as Arc<dyn AgentResolver>);
    site.set(vec![agent("a", &url)]);
    (site, teams)
}

#[tokio::test]
async fn s7_an_agent_is_found_when_it_is_asked() {
    let (site, teams) = site().await;
    let (status, answer) = site.ask_at("/team-red/chat/completions", user("hello")).await;
    assert_eq!(
        (status, &answer["model"]),
        (StatusCode::OK, &json!("team-red")),
        "{answer}"
    );
    let mut body = user("hello");
    body["model"] = json!("team-blue");
    let (status, answer) = site.ask_at("/v1/chat/completions", body).await;
    assert_eq!(
        (status, &answer["model"]),
        (StatusCode::OK, &json!("team-blue")),
        "{answer}"
    );
    let body = json!({ "stream": true, "messages": user("hello")["messages"] });
    let streamed = site.post("/team-red/chat/completions", &body).send().await.unwrap();
    assert!(text(&chunks(&crate::site::events(streamed).await)).contains("no tool on offer"));
    assert_eq!(site.get_json("/team-red").await.1["name"], "team-red");
    assert_eq!(site.get_json("/v1/models/team-red").await.1["id"], "team-red");
    site.metric(r#"rockbot_requests_total{agent="team-red",status="ok"} 2"#)
        .await;

    let before = teams.asked.lock().unwrap().len();
    assert_eq!(site.ask(user("hello")).await.0, StatusCode::OK);
    let long = format!("/team-{}/chat/completions", "x".repeat(300));
    assert_eq!(site.ask_at(&long, user("hello")).await.0, StatusCode::NOT_FOUND);
    let asked = teams.asked.lock().unwrap().split_off(before);
    assert_eq!(
        asked, [""; 0],
        "an agent of the set is not looked up, nor is what can be no name"
    );
}

#[tokio::test]
async fn s7_fixed_routes_win_over_agents() {
    let (site, teams) = site().await;
    for path in ["/health", "/live", "/metrics", "/ready", "/v1/models"] {
        let (status, text) = site.get_text(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!text.contains("\"pricing\""), "{path} describes an agent: {text}");
    }
    let mut body = user("x");
    body["model"] = json!("a");
    let (_, answer) = site.ask_at("/v1/chat/completions", body).await;
    assert_eq!(answer["model"], "a");
    assert!(!teams.asked.lock().unwrap().iter().any(|name| FIXED.contains(&&**name)));
}

#[tokio::test]
async fn s7_lists_show_what_can_be_listed() {
    let (site, _) = site().await;
    assert_eq!(
        site.ask_at("/team-red/chat/completions", user("x")).await.0,
        StatusCode::OK
    );
    let (_, models) = site.get_json("/v1/models").await;
    let ids: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| &model["id"])
        .collect();
    assert_eq!(ids, ["a", "team-red"]);
    assert_eq!(site.get_json("/").await.1["agents"], json!(["a", "team-red"]));
    let (_, found) = site.get_json("/?search=red").await;
    assert_eq!(found["agents"][0]["name"], "team-red", "{found}");
}

#[tokio::test]
async fn s7_s11_an_agent_that_nobody_finds_is_the_clients_mistake() {
    let (site, teams) = site().await;
    let (status, answer) = site.ask_at("/nobody/chat/completions", user("x")).await;
    assert_eq!((status, code(&answer)), (StatusCode::NOT_FOUND, "agent_not_found"));
    let mut body = user("x");
    body["model"] = json!("nobody");
    let (status, answer) = site.ask_at("/v1/chat/completions", body).await;
    assert_eq!((status, code(&answer)), (StatusCode::NOT_FOUND, "model_not_found"));
    let (status, answer) = site.get_json("/v1/models/nobody").await;
    assert_eq!((status, code(&answer)), (StatusCode::NOT_FOUND, "model_not_found"));
    assert_eq!(*teams.asked.lock().unwrap(), ["nobody"; 3]);
}

#[tokio::test]
async fn s7_s11_a_lookup_that_fails_is_the_servers_mistake_and_tells_nothing() {
    let (site, _) = site().await;
    let (status, answer) = site.ask_at("/broken/chat/completions", user("x")).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::SERVICE_UNAVAILABLE, "agent_lookup_failed")
    );
    assert_eq!(answer["error"]["type"], "server_error");
    assert!(!answer.to_string().contains("db.internal"), "{answer}");
    assert_eq!(site.get_text("/broken").await.0, StatusCode::SERVICE_UNAVAILABLE);
    site.metric(r#"rockbot_requests_total{agent="",status="server_error"} 1"#)
        .await;
    assert_eq!(site.ask(user("x")).await.0, StatusCode::OK, "the others answer");
}

#[tokio::test(start_paused = true)]
async fn s7_a_lookup_has_a_deadline() {
    let server = Server::new(None);
    server.set_resolver(Teams::at("http://127.0.0.1:1"));
    let request = Request::post("/slow/chat/completions")
        .body(Body::from(user("x").to_string()))
        .unwrap();
    let response = router(server).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    assert_eq!(code(&serde_json::from_slice(&body).unwrap()), "agent_lookup_timeout");
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}
