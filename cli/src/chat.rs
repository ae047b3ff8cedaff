//! `rockbot chat`: a conversation in the terminal, over the same HTTP API that any client uses.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use futures::StreamExt;
use rockbot_scripts_api::OutputFile;
use serde::Deserialize;
use serde_json::{Value, json};
use sse_stream::SseStream;
use tokio::io::{AsyncBufReadExt, BufReader};
use url::Url;

use crate::{args::ChatArgs, files, style::Style};

/// Longest tool output that is shown; the agent sees all of it.
const SHOWN_TOOL_OUTPUT: usize = 400;

/// Reads messages from standard input until it ends, and prints the answers.
pub(crate) async fn run(args: ChatArgs) -> anyhow::Result<()> {
    let http = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .build()?;
    let agent = match args.agent {
        Some(agent) => agent,
        None => only_agent(&http, &args.url).await?,
    };
    let style = Style::of(&std::io::stdout());
    let mut conversation = Conversation {
        http,
        url: endpoint(&args.url, &agent)?,
        style,
        output_dir: args.output_dir,
        messages: Vec::new(),
    };
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        println!("Talking to {agent}. An empty line or Ctrl-D ends it.");
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        if interactive {
            print!("{}", style.bold("you> "));
            std::io::stdout().flush()?;
        }
        match lines.next_line().await? {
            None => break,
            Some(line) if line.trim().is_empty() && interactive => break,
            Some(line) if line.trim().is_empty() => {}
            Some(line) => conversation.say(line).await?,
        }
    }
    Ok(())
}

/// What has been said, and where the agent answers.
struct Conversation {
    http: reqwest::Client,
    url: Url,
    style: Style,
    output_dir: Option<PathBuf>,
    messages: Vec<Value>,
}

impl Conversation {
    /// Sends one message and prints the answer as it comes.
    async fn say(&mut self, text: String) -> anyhow::Result<()> {
        self.messages.push(json!({ "role": "user", "content": text }));
        let response = self
            .http
            .post(self.url.clone())
            .header("x-rockbot-tool-events", "true")
            .json(&json!({ "messages": self.messages, "stream": true }))
            .send()
            .await
            .with_context(|| format!("cannot reach {}; is `rockbot dev` or a port-forward running?", self.url))?;
        if !response.status().is_success() {
            let status = response.status();
            let body: Value = response.json().await.unwrap_or_default();
            bail!(
                "the agent answered {status}: {}",
                body["error"]["message"].as_str().unwrap_or("no message")
            );
        }
        let answer = self.print_answer(response).await?;
        self.messages.push(json!({ "role": "assistant", "content": answer }));
        Ok(())
    }

    async fn print_answer(&self, response: reqwest::Response) -> anyhow::Result<String> {
        let mut answer = String::new();
        let mut events = SseStream::from_bytes_stream(response.bytes_stream());
        while let Some(event) = events.next().await {
            let data = event.context("the answer was cut off")?.data.unwrap_or_default();
            if data == "[DONE]" {
                break;
            }
            let chunk: Chunk = serde_json::from_str(&data).context("the agent sent something that is not a chunk")?;
            if let Some(error) = chunk.error {
                bail!(
                    "the agent broke off: {}",
                    error["message"].as_str().unwrap_or("no message")
                );
            }
            if let Some(activity) = chunk.rockbot {
                self.print_activity(&activity)?;
            }
            for text in chunk.choices.into_iter().filter_map(|choice| choice.delta.content) {
                print!("{text}");
                std::io::stdout().flush()?;
                answer.push_str(&text);
            }
        }
        println!();
        Ok(answer)
    }

    fn print_activity(&self, activity: &Activity) -> anyhow::Result<()> {
        let mut stderr = std::io::stderr().lock();
        if let Some(call) = &activity.tool_call {
            writeln!(
                stderr,
                "{}",
                self.style.dim(&format!("→ {}({})", call.name, call.arguments))
            )?;
        }
        if let Some(result) = &activity.tool_result {
            let mut shown: String = result.content.trim_end().chars().take(SHOWN_TOOL_OUTPUT).collect();
            if shown.len() < result.content.trim_end().len() {
                shown.push('…');
            }
            writeln!(stderr, "{}", self.style.dim(&format!("← {shown}")))?;
            for file in &result.files {
                let place = match &self.output_dir {
                    Some(directory) => files::keep(directory, file)?.display().to_string(),
                    None => "start with --output-dir to keep it".to_owned(),
                };
                let line = format!("← file {}: {place}", files::describe(file));
                writeln!(stderr, "{}", self.style.dim(&line))?;
            }
        }
        Ok(())
    }
}

/// The parts of a `chat.completion.chunk` that a terminal shows.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<Value>,
    rockbot: Option<Activity>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

/// What the agent's own tools do meanwhile; sent because the request asked for it.
#[derive(Deserialize)]
struct Activity {
    tool_call: Option<ToolCall>,
    tool_result: Option<ToolResult>,
}

#[derive(Deserialize)]
struct ToolCall {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct ToolResult {
    content: String,
    #[serde(default)]
    files: Vec<OutputFile>,
}

fn endpoint(base: &Url, agent: &str) -> anyhow::Result<Url> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("--url {base}: must be an http or https URL"))?
        .pop_if_empty()
        .extend([agent, "chat", "completions"]);
    Ok(url)
}

async fn only_agent(http: &reqwest::Client, base: &Url) -> anyhow::Result<String> {
    let url = base.join("/v1/models")?;
    let models: Value = http
        .get(url.clone())
        .timeout(Duration::from_secs(10))
        .send()
        .await
        .with_context(|| format!("cannot reach {url}; is `rockbot dev` or a port-forward running?"))?
        .error_for_status()?
        .json()
        .await?;
    let names: Vec<_> = models["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|model| model["id"].as_str())
        .collect();
    match names.as_slice() {
        [] => bail!("{base} serves no agent"),
        [name] => Ok((*name).to_owned()),
        _ => bail!(
            "{base} serves {}; name one: rockbot chat {}",
            names.join(", "),
            names[0]
        ),
    }
}
