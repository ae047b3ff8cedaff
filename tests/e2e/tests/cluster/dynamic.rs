//! S7: agents that nobody has listed answer from the pods of an Agent: `examples/team-agents`.

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use rockbot_e2e::{chat::user, cluster::AGENT, fixtures, in_namespace, model::Model, process::port_forward};
use serde_json::{Value, json};

use crate::agents::reach;

#[tokio::test]
async fn s7_an_agent_is_found_when_it_is_asked() -> Result<()> {
    in_namespace("teams", async |ns| {
        fixtures::start_model(ns).await?;
        ns.apply(&fixtures::team_agents("desk", &fixtures::model_url(ns, "echo")))
            .await?;
        ns.ready(AGENT, "desk").await?;
        let (_forward, agents) = reach(ns, "desk").await?;
        let models = async || {
            let (_, text) = agents.get("/v1/models").await?;
            let list: Value = serde_json::from_str(&text)?;
            let all = list["data"].as_array().into_iter().flatten();
            anyhow::Ok(all.map(|model| model["id"].clone()).collect::<Vec<_>>())
        };
        ensure!(models().await? == ["desk"], "nobody lists what nobody has asked for");

        let key = Some(fixtures::KEY);
        let (status, answer) = agents.post_as(key, "/red/chat/completions", &user("hello")).await?;
        ensure!(status.is_success() && answer["model"] == "red", "{status}: {answer}");
        let mut question = user("hello");
        question["model"] = json!("blue");
        let (status, answer) = agents.post_as(key, "/v1/chat/completions", &question).await?;
        ensure!(status.is_success() && answer["model"] == "blue", "{status}: {answer}");
        ensure!(models().await? == ["blue", "desk", "red"], "{:?}", models().await?);

        let mut kubectl = ns.cluster.kubectl();
        kubectl.args(["--namespace", &ns.name]);
        let (_forward, address) = port_forward(kubectl, "svc/model", 8080).await?;
        let asked = Model::at(address)?.requests("echo").await?;
        let told: Vec<_> = asked
            .iter()
            .map(|asked| &asked["body"]["messages"][0]["content"])
            .collect();
        let team = |name: &str| json!(format!("You are under test. You work for the {name} team."));
        ensure!(told == [&team("red"), &team("blue")], "{told:?}");

        // The keys of the Agent are those of all agents that its program finds.
        let (status, answer) = agents.post("/red/chat/completions", &user("hello")).await?;
        ensure!(status == StatusCode::UNAUTHORIZED, "without a key: {status}: {answer}");
        question["model"] = json!("green");
        for (path, code) in [
            ("/green/chat/completions", "agent_not_found"),
            ("/v1/chat/completions", "model_not_found"),
        ] {
            let (status, answer) = agents.post_as(key, path, &question).await?;
            ensure!(
                status == StatusCode::NOT_FOUND && answer["error"]["code"] == code,
                "{path}: {status}: {answer}"
            );
        }
        Ok(())
    })
    .await
}
