//! K5, T18: `rockbot dev` serves the same manifests on one machine, and passes the same checks as a cluster.

use std::{io::Write, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use rockbot_e2e::{
    Settings,
    chat::{Agents, user},
    eventually, fixtures,
    http_conformance::{self, Subject},
    model::Model,
    process::{self, Output, Server},
    sdk,
    wait::Seen,
};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn k5_the_quickstart_answers_as_openai_does() -> Result<()> {
    let settings = Settings::read()?;
    let (_server, agents) = dev(&settings, &settings.repository().join("crds/examples/quickstart.yaml")).await?;
    http_conformance::check(&Subject {
        server: agents,
        name: "assistant".into(),
    })
    .await
}

#[tokio::test]
async fn t16_the_official_sdk_has_python_run() -> Result<()> {
    let settings = Settings::read()?;
    let (_model, address) = model(&settings).await?;
    let folder = tempfile::tempdir()?;
    let yaml = fixtures::scripted_agent("scripted", &format!("http://{address}/python/v1"));
    std::fs::write(folder.path().join("agent.yaml"), yaml)?;
    std::fs::write(folder.path().join("secret.yaml"), fixtures::MODEL_KEY)?;
    let (_server, agents) = dev(&settings, folder.path()).await?;
    let runs = sdk::run_sdk_tests(&settings, agents.base(), "scripted").await?;
    ensure!(runs.len() > 4, "too few runs: {runs:?}");
    Ok(())
}

#[tokio::test]
async fn s14_the_scripted_model_says_what_the_sdks_of_three_providers_expect() -> Result<()> {
    let settings = Settings::read()?;
    let (_model, address) = model(&settings).await?;
    sdk::run_wires_tests(&settings, &format!("http://{address}")).await
}

#[tokio::test]
async fn s14_openais_sdks_ask_in_every_way() -> Result<()> {
    let settings = Settings::read()?;
    let (_model, address) = model(&settings).await?;
    let model = format!("http://{address}");
    let folder = tempfile::tempdir()?;
    let yaml = fixtures::guarded_agent("guarded", &format!("{model}/sdk/v1"));
    std::fs::write(folder.path().join("agent.yaml"), yaml)?;
    std::fs::write(folder.path().join("secret.yaml"), fixtures::MODEL_KEY)?;
    let (_server, agents) = dev(&settings, folder.path()).await?;
    let subject = sdk::Subject {
        url: agents.base(),
        agent: "guarded",
        key: fixtures::KEY,
        model: &model,
    };
    sdk::run_client_tests(&settings, &subject).await
}

#[tokio::test]
async fn d4_agents_of_one_machine_hand_tasks_to_each_other() -> Result<()> {
    let settings = Settings::read()?;
    let (_server, address) = model(&settings).await?;
    let model = Model::at(address)?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("secret.yaml"), fixtures::MODEL_KEY)?;
    for (name, to) in [("a", "b"), ("b", "a")] {
        let yaml = fixtures::handing_agent(name, &format!("http://{address}/{name}/v1"), to);
        std::fs::write(folder.path().join(format!("{name}.yaml")), yaml)?;
        model.script(name, &fixtures::handing_steps(name)).await?;
    }
    let (_dev, agents) = dev(&settings, folder.path()).await?;
    ensure!(agents.ask("a", "go").await? == "a is done");
    let asked = model.requests("b").await?;
    ensure!(
        asked.len() == 2 && asked[0]["body"]["messages"][1]["content"] == "from a",
        "{asked:?}"
    );
    let refused = asked[1]["body"]["messages"].to_string();
    ensure!(refused.contains("a → b → a"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn k5_an_edited_manifest_is_picked_up() -> Result<()> {
    let settings = Settings::read()?;
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    file.write_all(fixtures::demo_agent("before").as_bytes())?;
    let (_server, agents) = dev(&settings, file.path()).await?;
    ensure!(
        models(&agents).await? == ["before"],
        "models: {:?}",
        models(&agents).await?
    );
    std::fs::write(file.path(), fixtures::demo_agent("after"))?;
    eventually("the edited manifest is served", 10 * SECOND, async || {
        let models = models(&agents).await?;
        Ok(Seen::when(models == ["after"], || format!("{models:?}")))
    })
    .await?;
    // A broken edit is not served: whoever is there already goes on answering.
    std::fs::write(file.path(), "kind: Agent\nspec: [")?;
    tokio::time::sleep(2 * SECOND).await;
    ensure!(models(&agents).await? == ["after"], "a broken edit took the agent away");
    Ok(())
}

#[tokio::test]
async fn s7_an_agent_is_found_as_soon_as_its_manifest_is_there() -> Result<()> {
    let settings = Settings::read()?;
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(format!("{name}.yaml")), text);
    write("first", &fixtures::demo_agent("first"))?;
    let (_server, agents) = dev(&settings, folder.path()).await?;
    for name in ["second", "third", "fourth"] {
        write(name, &fixtures::demo_agent(name))?;
        agents.ask(name, "hello").await?;
    }
    ensure!(models(&agents).await? == ["first", "fourth", "second", "third"]);

    let status = async |name: &str| {
        let (status, answer) = agents
            .post(&format!("/{name}/chat/completions"), &user("hello"))
            .await?;
        anyhow::Ok((status.as_u16(), answer["error"]["code"].clone()))
    };
    ensure!(status("nobody").await? == (404, json!("agent_not_found")));
    write("broken", "kind: Agent\nspec: [")?;
    let cannot_say = status("nobody").await?;
    ensure!(cannot_say == (503, json!("agent_lookup_failed")), "{cannot_say:?}");
    agents.ask("second", "hello").await?;
    Ok(())
}

#[tokio::test]
async fn k5_chat_answers_line_by_line() -> Result<()> {
    let settings = Settings::read()?;
    let (_server, agents) = dev(&settings, &settings.repository().join("crds/examples/quickstart.yaml")).await?;
    let mut chat = process::command(&settings.binary("rockbot")?);
    chat.args(["chat", "--url", agents.base()]);
    let output = process::run(chat, "good morning\nand good night\n", 30 * SECOND).await?;
    let answers: Vec<_> = output
        .stdout
        .lines()
        .filter(|line| line.contains("demo model"))
        .collect();
    ensure!(output.success() && answers.len() == 2, "{output:?}");
    ensure!(
        answers[0].contains("good morning") && answers[1].contains("good night"),
        "{answers:?}"
    );

    let mut chat = process::command(&settings.binary("rockbot")?);
    chat.args(["chat", "nobody", "--url", agents.base()]);
    let output = process::run(chat, "hello\n", 30 * SECOND).await?;
    ensure!(!output.success() && output.stderr.contains("nobody"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn t18_script_run_is_a_sandbox_with_the_scripts_exit_code() -> Result<()> {
    let settings = Settings::read()?;
    let output = run_script(&settings, &["--input", r#"{"n": 6}"#], INPUT).await?;
    ensure!(output.success() && output.stdout == "42\n", "{output:?}");
    let output = run_script(&settings, &[], "import sys; print('partly'); sys.exit(3)").await?;
    ensure!(output.status == Some(3) && output.stdout == "partly\n", "{output:?}");
    let output = run_script(&settings, &[], "raise ValueError('no such luck')").await?;
    ensure!(
        output.status == Some(1) && output.stderr.contains("ValueError: no such luck"),
        "{output:?}"
    );
    let output = run_script(&settings, &["--timeout", "1"], "while True: pass").await?;
    ensure!(output.status == Some(124), "a timeout ends with {output:?}");
    Ok(())
}

const INPUT: &str = "import json, os; print(7 * json.loads(os.environ['ROCKBOT_INPUT'])['n'])";

#[tokio::test]
async fn t17_seccomp_stops_a_script_on_one_machine() -> Result<()> {
    let settings = Settings::read()?;
    let canary = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = canary.local_addr()?.port();
    let source = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('open')");
    let mut python = process::command("python3".as_ref());
    python.args(["-c", &source]);
    ensure!(
        process::check(python, "", 10 * SECOND).await? == "open\n",
        "an ordinary process does not reach the canary"
    );
    let output = run_script(&settings, &[], &source).await?;
    ensure!(
        !output.success() && output.stderr.contains("PermissionError"),
        "a script reached the canary: {output:?}"
    );
    Ok(())
}

/// `rockbot script run ARGS -` with `source` as its input.
async fn run_script(settings: &Settings, args: &[&str], source: &str) -> Result<Output> {
    let mut command = process::command(&settings.binary("rockbot")?);
    command.args(["script", "run"]).args(args).arg("-");
    process::run(command, source, 30 * SECOND).await
}

/// `rockbot dev` on a free port.
async fn dev(settings: &Settings, manifests: &Path) -> Result<(Server, Agents)> {
    let mut command = process::command(&settings.binary("rockbot")?);
    command.args(["dev", "--listen", "127.0.0.1:0", "-f"]).arg(manifests);
    let (server, address) = Server::start(command, 30 * SECOND, address_in).await?;
    let agents = Agents::at(format!("http://{address}"))?;
    eventually("rockbot dev is ready", 20 * SECOND, async || {
        let (status, text) = agents.get("/ready").await?;
        Ok(Seen::when(status.is_success(), || format!("{status}: {text}")))
    })
    .await?;
    Ok((server, agents))
}

async fn model(settings: &Settings) -> Result<(Server, SocketAddr)> {
    let mut command = process::command(&settings.binary("rockbot-fake-model")?);
    command.args(["--listen", "127.0.0.1:0"]);
    Server::start(command, 10 * SECOND, address_in).await
}

/// The address of this machine that a line names.
fn address_in(line: &str) -> Option<SocketAddr> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start..];
    let end = rest.find(|character: char| !character.is_ascii_digit() && !".:".contains(character));
    rest[..end.unwrap_or(rest.len())]
        .trim_end_matches(['.', ':'])
        .parse()
        .ok()
}

async fn models(agents: &Agents) -> Result<Vec<String>> {
    let (_, text) = agents.get("/v1/models").await?;
    let list: Value = serde_json::from_str(&text)?;
    let models = list["data"].as_array().context("no list of models")?;
    Ok(models
        .iter()
        .filter_map(|model| model["id"].as_str())
        .map(str::to_owned)
        .collect())
}
