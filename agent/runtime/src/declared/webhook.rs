//! Hooks that are webhooks: what each moment sends, and what the answer may change.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rockbot_agent_config::{HookConfig, HookEvent as ConfigEvent};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use url::Url;

use super::{Wrong, url};
use crate::{
    Context, ToolResult,
    outbound::{Outbound, Post, Reply},
    scope::Scope,
    skills::{HandoffResult, Hook, HookEvent, HookFailure, Occasion, function},
    tools::ToolInvokeRequest,
};

/// A declared hook.
pub(super) struct Declared {
    outbound: Arc<Outbound>,
    name: String,
    event: ConfigEvent,
    priority: i32,
    scope: String,
    url: Url,
    timeout: Duration,
    must_succeed: bool,
    signing_key_file: Option<PathBuf>,
}

/// What an answer says. What it leaves out stays as it is, and so does what the moment does not lend.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    /// Values that the request remembers from now on.
    values: Map<String, Value>,
    /// The call that is about to run.
    call: CallChange,
    /// The result that the model is about to read.
    result: ResultChange,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CallChange {
    name: Option<String>,
    /// An object, or JSON as text.
    arguments: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResultChange {
    /// Of a tool.
    content: Option<String>,
    is_error: Option<bool>,
    /// Of a handoff.
    result: Option<String>,
    success: Option<bool>,
    metadata: Option<Map<String, Value>>,
}

impl Declared {
    pub(super) fn new(config: &HookConfig, outbound: &Arc<Outbound>) -> Result<Self, Wrong> {
        Ok(Self {
            outbound: Arc::clone(outbound),
            name: config.name.clone(),
            event: config.event,
            priority: config.priority,
            scope: config.scope.clone(),
            url: url(|| format!("hooks[{}].url", config.name), &config.url)?,
            timeout: Duration::from_secs(config.timeout_seconds.into()),
            must_succeed: config.must_succeed,
            signing_key_file: config.signing_key_file.clone(),
        })
    }

    pub(super) fn hook(self: &Arc<Self>) -> Hook {
        let this = Arc::clone(self);
        Hook {
            name: self.name.clone(),
            skill: String::new(),
            event: event(self.event),
            priority: self.priority,
            scope: Scope::any_of([&self.scope]),
            must_succeed: self.must_succeed,
            run: function::hook(move |context, occasion| {
                let this = Arc::clone(&this);
                Box::pin(async move { this.call(&context, occasion).await })
            }),
        }
    }

    async fn call(&self, context: &Context, occasion: Occasion<'_>) -> Result<(), HookFailure> {
        let body = json!({
            "type": self.event,
            "context": context.variables(),
            "data": data(&occasion, context),
        });
        let post = Post {
            url: &self.url,
            body: &body,
            key_file: None,
            signing_key_file: self.signing_key_file.as_deref(),
        };
        let reply = timeout(self.timeout, self.outbound.post(context, post)).await;
        let late = |_| Err(format!("it gave no answer within {} s", self.timeout.as_secs()));
        let reply = reply.unwrap_or_else(late).map_err(HookFailure::Failed)?;
        if reply.status.is_client_error() {
            return Err(HookFailure::Refused(reply.words()));
        }
        if !reply.status.is_success() {
            return Err(HookFailure::Failed(reply.words()));
        }
        change(&reply)?.apply(occasion, context);
        Ok(())
    }
}

fn event(event: ConfigEvent) -> HookEvent {
    match event {
        ConfigEvent::OnConnection => HookEvent::OnConnection,
        ConfigEvent::OnMessage => HookEvent::OnMessage,
        ConfigEvent::BeforeToolcall => HookEvent::BeforeToolcall,
        ConfigEvent::AfterToolcall => HookEvent::AfterToolcall,
        ConfigEvent::BeforeHandoff => HookEvent::BeforeHandoff,
        ConfigEvent::AfterHandoff => HookEvent::AfterHandoff,
        ConfigEvent::FinalizeConnection => HookEvent::FinalizeConnection,
    }
}

/// What a moment lends, as JSON.
fn data(occasion: &Occasion<'_>, context: &Context) -> Value {
    match occasion {
        Occasion::Connection => json!({}),
        Occasion::Chunk(_) => Value::Null,
        Occasion::Message(message) => json!({ "message": message }),
        Occasion::BeforeToolcall(call) | Occasion::BeforeHandoff(call) => {
            let ToolInvokeRequest {
                tool_call_id,
                tool_name,
                arguments,
                ..
            } = &**call;
            json!({ "call": { "id": tool_call_id, "name": tool_name, "arguments": arguments } })
        }
        Occasion::AfterToolcall(result) => {
            let ToolResult {
                id,
                name,
                content,
                is_error,
                ..
            } = &**result;
            json!({ "result": { "id": id, "name": name, "content": content, "is_error": is_error } })
        }
        Occasion::AfterHandoff(result) => json!({ "result": &**result }),
        Occasion::Finalize => json!({ "usage": context.usage() }),
    }
}

/// Many receivers answer with nothing, or with a word for people.
fn change(reply: &Reply) -> Result<Change, HookFailure> {
    if !reply.is_json || reply.body.is_empty() {
        return Ok(Change::default());
    }
    serde_json::from_slice(&reply.body)
        .map_err(|error| HookFailure::Failed(format!("its answer cannot be read: {error}")))
}

impl Change {
    fn apply(self, occasion: Occasion<'_>, context: &Context) {
        for (key, value) in self.values {
            context.set(key, value);
        }
        match occasion {
            Occasion::BeforeToolcall(call) | Occasion::BeforeHandoff(call) => self.call.apply(call),
            Occasion::AfterToolcall(result) => self.result.apply_to_tool(result),
            Occasion::AfterHandoff(result) => self.result.apply_to_handoff(result),
            Occasion::Connection | Occasion::Chunk(_) | Occasion::Message(_) | Occasion::Finalize => {}
        }
    }
}

impl CallChange {
    fn apply(self, call: &mut ToolInvokeRequest) {
        replace(&mut call.tool_name, self.name);
        let arguments = self.arguments.map(|arguments| match arguments {
            Value::String(text) => text,
            other => other.to_string(),
        });
        replace(&mut call.arguments, arguments);
    }
}

impl ResultChange {
    fn apply_to_tool(self, result: &mut ToolResult) {
        replace(&mut result.content, self.content);
        replace(&mut result.is_error, self.is_error);
    }

    fn apply_to_handoff(self, result: &mut HandoffResult) {
        replace(&mut result.result, self.result);
        replace(&mut result.success, self.success);
        replace(&mut result.metadata, self.metadata);
    }
}

fn replace<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}
