//! Other agents: finding them, and handing them tasks on behalf of whoever asks.
//!
//! Every request carries the chain of agents through whose hands it has come, so that a circle is noticed by the agent
//! that would close it, in whichever pods the agents are.

mod answer;
mod chain;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::{
    Response,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue},
};
use rockbot_agent_config::{HandoffConfig, HandoffTarget};
use rockbot_llm::chat::Message;
use serde_json::{Value, json};
use url::Url;

use crate::{
    Context,
    outbound::{self, Outbound},
    scope::Scope,
    skills::HandoffResult,
};

/// Header that carries the chain of agents, separated by commas, the first to be asked first.
pub const HANDOFFS: &str = "x-rockbot-handoffs";

/// Longest body of a refusal that is read.
const MAX_REFUSAL: usize = 64 << 10;

/// Finds agents by name.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Where the agent `name` answers: `/chat/completions` comes behind it.
    ///
    /// # Errors
    /// In words for a model, when there is none or it cannot answer now.
    async fn find(&self, name: &str) -> Result<Url, String>;
}

/// The other agents, as one agent sees them.
pub(crate) struct Peers {
    directory: Option<Arc<dyn Directory>>,
    outbound: Arc<Outbound>,
    keys: Vec<Key>,
}

/// A key that a declared handoff has for an agent.
struct Key {
    agent: String,
    file: PathBuf,
    /// For whose requests it counts.
    scope: Scope,
}

/// What another agent is to do.
pub(crate) struct Task<'a> {
    /// Its name.
    pub(crate) agent: &'a str,
    /// In words.
    pub(crate) text: &'a str,
    /// Whether it reads the conversation that led to it.
    pub(crate) with_conversation: bool,
    /// File with a key that it accepts.
    pub(crate) key_file: Option<&'a Path>,
}

impl Peers {
    /// Those that `directory` finds; `handoffs` have keys for some of them.
    pub(crate) fn new(
        directory: Option<Arc<dyn Directory>>,
        outbound: Arc<Outbound>,
        handoffs: &[HandoffConfig],
    ) -> Self {
        Self {
            directory,
            outbound,
            keys: handoffs.iter().filter_map(Key::of).collect(),
        }
    }

    /// The key for the agent `name` in requests like that of `context`: of the first handoff to it that has one and that
    /// whoever asks may use.
    pub(crate) fn key_for(&self, name: &str, context: &Context) -> Option<&Path> {
        let mut keys = self.keys.iter().filter(|key| key.agent == name);
        let key = keys.find(|key| key.scope.admits(&context.scope))?;
        Some(&key.file)
    }

    /// Hands a task on and waits for what becomes of it. Whoever stops waiting ends it at the other agent.
    pub(crate) async fn ask(&self, context: &Context, task: &Task<'_>) -> HandoffResult {
        let asked = self.try_ask(context, task).await;
        let failed = |why: String| HandoffResult::failed(format!("agent {}: {why}", task.agent));
        asked.unwrap_or_else(failed).with("agent", task.agent)
    }

    async fn try_ask(&self, context: &Context, task: &Task<'_>) -> Result<HandoffResult, String> {
        let chain = chain::extend(&context.handoffs, context.agent(), task.agent)?;
        let directory = self.directory.as_ref().ok_or("this process knows no other agents")?;
        let mut url = directory.find(task.agent).await?;
        url.path_segments_mut()
            .map_err(|()| "its URL is none".to_owned())?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        let mut headers = headers(context, &chain);
        if let Some(file) = task.key_file {
            headers.insert(AUTHORIZATION, outbound::bearer(file)?);
        }
        let request = self.outbound.client(&url).await?.post(url).headers(headers);
        let response = request.json(&body(context, task)).send().await;
        let response = response.map_err(outbound::cause)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        answer::read(response).await
    }
}

impl Key {
    fn of(handoff: &HandoffConfig) -> Option<Self> {
        match &handoff.to {
            HandoffTarget::Agent {
                name,
                key_file: Some(file),
            } => Some(Self {
                agent: name.clone(),
                file: file.clone(),
                scope: Scope::any_of([&handoff.scope]),
            }),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Peers").finish_non_exhaustive()
    }
}

/// Who asks, for whom, and through whose hands. Who began the conversation stays who it was.
fn headers(context: &Context, chain: &[String]) -> HeaderMap {
    let mut headers = outbound::headers_of(context);
    let origin = if context.handoffs.is_empty() && context.origin_user_id == "anonymous" {
        &context.user_id
    } else {
        &context.origin_user_id
    };
    for (name, value) in [
        ("x-user-id", &context.user_id),
        ("x-payment-user-id", &context.payment_user_id),
        ("x-origin-user-id", origin),
        ("x-agent-owner-id", &context.agent_owner_id),
        (HANDOFFS, &chain.join(",")),
    ] {
        outbound::insert(&mut headers, name, value);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers
}

/// A stream, so that a connection on which nothing comes is a broken one and not merely a slow one.
fn body(context: &Context, task: &Task<'_>) -> Value {
    let conversation = context.conversation().iter().filter(|_| task.with_conversation);
    let mut messages: Vec<_> = conversation.filter_map(said).collect();
    messages.push(Message::text("user", task.text));
    json!({
        "model": task.agent,
        "stream": true,
        "stream_options": { "include_usage": true },
        "messages": messages,
    })
}

/// What people and the agent have said to each other; instructions, calls and their results are the agent's own.
fn said(message: &Message) -> Option<Message> {
    let is_speech = matches!(&*message.role, "user" | "assistant");
    let content = message.content.clone().filter(|_| is_speech)?;
    Some(Message {
        content: Some(content),
        ..Message::text(&message.role, "")
    })
}

/// What the other agent says in place of an answer.
async fn refusal(mut response: Response) -> String {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await
        && body.len() + piece.len() <= MAX_REFUSAL
    {
        body.extend_from_slice(&piece);
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match body["error"]["message"].as_str() {
        Some(message) => format!("it answered {}: {message}", status.as_u16()),
        None => format!("it answered {status}"),
    }
}
