//! Runs the binary as a pod does, with a scripted model, and uses its skill.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use rockbot_fakes::{Call, FakeModel, Step};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the agent that `config` describes.
async fn start(config: &Value, file: &Path) -> Result<(Child, SocketAddr)> {
    std::fs::write(file, config.to_string())?;
    // Many systems grant no more open files than this unasked.
    let mut agent = Command::new("sh")
        .args([
            "-c",
            "ulimit -Sn 1024 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_custom-agent"),
        ])
        .args(["--listen", "127.0.0.1:0", "--config"])
        .arg(file)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut log = BufReader::new(agent.stdout.take().context("no log")?).lines();
    let address = async {
        while let Some(line) = log.next_line().await? {
            let entry: Value = serde_json::from_str(&line)?;
            if let Some(address) = entry["address"].as_str() {
                return Ok(address.parse()?);
            }
        }
        anyhow::bail!("the agent ended before it served")
    };
    let address = timeout(PATIENCE, address).await??;
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    Ok((agent, address))
}

#[tokio::test]
async fn an_agent_takes_as_many_connections_as_it_may() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let config = json!({ "name": "shop", "model": { "provider": "Demo" } });
    let (agent, _) = start(&config, &directory.path().join("agent.json")).await?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.id().context("it ended")?))?;
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let words: Vec<_> = files.context("no limit")?.split_whitespace().collect();
    assert!(words[0] == words[1] && words[0] != "1024", "soft and hard: {words:?}");
    Ok(())
}

#[tokio::test]
async fn the_model_uses_a_skill_of_a_custom_agent() -> Result<()> {
    let model = FakeModel::start().await?;
    let calls = ["chair", "sofa"].map(|item| Call::new("count", json!({ "item": item })));
    let url = model.script("scripted", [Step::call(calls), Step::say("Four chairs, no sofa.")]);
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("key");
    std::fs::write(&key, "sk-test")?;
    let config = json!({
        "name": "shop",
        "instructions": "You sell furniture.",
        "model": { "provider": "OpenAI", "name": "scripted", "baseUrl": url, "apiKeyFile": key },
    });
    let (_agent, address) = start(&config, &directory.path().join("agent.json")).await?;
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer: Value = http
        .post(format!("http://{address}/shop/chat/completions"))
        .header("x-user-id", "ada")
        .json(&json!({ "messages": [{ "role": "user", "content": "What is there to sit on?" }] }))
        .send()
        .await?
        .json()
        .await?;
    assert_eq!(answer["choices"][0]["message"]["content"], "Four chairs, no sofa.");

    let asked: Vec<_> = model
        .requests("scripted")
        .into_iter()
        .map(|request| request.body)
        .collect();
    let system = "You sell furniture.\n\nYou serve ada. Our goods: chair, table.";
    assert_eq!(asked[0]["messages"][0]["content"], system);
    let tools = asked[0]["tools"].as_array().context("no tools")?;
    assert_eq!(tools.len(), 1, "restock is for owners: {tools:?}");
    let results: Vec<_> = asked[1]["messages"].as_array().context("no messages")?[3..]
        .iter()
        .map(|message| message["content"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(results[0], "4");
    assert!(results[1].contains("not among our goods"), "{results:?}");

    let info: Value = http.get(format!("http://{address}/shop")).send().await?.json().await?;
    assert_eq!(info["skills"], json!(["stock"]));
    assert_eq!(info["capabilities"], json!(["stock:count"]));
    Ok(())
}
