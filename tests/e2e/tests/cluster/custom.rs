//! D1, D6, D7: an Agent runs an image of its own, and its model uses the skill that is in it: `examples/custom-agent`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use rockbot_e2e::{
    chat::{Agents, user},
    cluster::AGENT,
    eventually,
    fixtures::{self, NO_ANSWER},
    in_namespace,
    wait::Seen,
};
use serde_json::{Value, json};

use crate::agents::reach;

#[tokio::test]
async fn d7_an_agent_runs_an_image_of_its_own() -> Result<()> {
    in_namespace("custom", async |ns| {
        fixtures::start_model(ns).await?;
        ns.apply(&fixtures::custom_agent("shop", &fixtures::model_url(ns, "mcp")))
            .await?;
        ns.ready(AGENT, "shop").await?;
        let (_forward, agents) = reach(ns, "shop").await?;
        let (_, info) = agents.get("/shop").await?;
        let info: Value = serde_json::from_str(&info)?;
        ensure!(
            info["skills"] == json!(["stock"]) && info["capabilities"] == json!(["stock:count"]),
            "what everybody may use: {info}"
        );

        // The scripted model makes the calls of the message, and says what came of them.
        let counted = say(&agents, r#"CALL count {"item":"chair"}"#, None).await?;
        ensure!(counted == "4", "count: {counted}");
        let refused = say(&agents, r#"CALL restock {"item":"chair"}"#, None).await?;
        ensure!(refused.contains("tool_not_found"), "restock is for owners: {refused}");
        let restocked = say(&agents, r#"CALL restock {"item":"chair"}"#, Some(fixtures::KEY)).await?;
        ensure!(restocked == "5", "restock by its owner: {restocked}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn d7_code_of_its_own_reaches_every_agent_of_its_namespace_and_nothing_else() -> Result<()> {
    in_namespace("neighbours", async |ns| {
        fixtures::start_model(ns).await?;
        let image = fixtures::custom_agent("shop", "http://localhost:1/v1");
        ns.apply(&image).await?;
        ns.apply(&fixtures::demo_agent("neighbour")).await?;
        ns.ready(AGENT, "neighbour").await?;
        eventually("the agent has its wall", Duration::from_secs(30), async || {
            let wall = ns.api::<NetworkPolicy>().get_opt("agent-shop").await?;
            Ok(Seen::when(wall.is_some(), || "none".to_owned()))
        })
        .await?;
        let at = |service: &str| format!("{service}.{}.svc:8080", ns.name);
        let targets = json!({ "neighbour": at("agent-neighbour"), "model": at("model") });
        let seen = fixtures::knock(ns, &BTreeMap::new(), &targets).await?;
        ensure!(
            seen == json!({ "neighbour": "open", "model": "open" }),
            "an ordinary pod sees {seen}"
        );
        let seen = fixtures::knock(ns, &fixtures::agent_labels("shop"), &targets).await?;
        ensure!(
            seen == json!({ "neighbour": "open", "model": NO_ANSWER }),
            "a pod of the agent sees {seen}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn k1_the_templates_agent_is_accepted() -> Result<()> {
    in_namespace("template", async |ns| {
        let file = ns.cluster.settings.repository().join("examples/template/agent.yaml");
        let yaml = std::fs::read_to_string(file)?;
        let yaml = yaml
            .replace("{{project-name}}", "dice-agent")
            .replace("{{registry}}", "docker.io");
        ns.apply(&yaml).await
    })
    .await
}

async fn say(agents: &Agents, prompt: &str, key: Option<&str>) -> Result<String> {
    let (status, answer) = agents.post_as(key, "/shop/chat/completions", &user(prompt)).await?;
    ensure!(status.is_success(), "{status}: {answer}");
    Ok(answer["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}
