//! A deterministic model without a provider: for trying RockBot without a key, and for tests.
//!
//! It says that it is a demo, runs the first fenced Python block of a message when it may, and reports what came back.

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;

use crate::{
    Event, EventStream, Model, ModelError, ToolCallDelta, Usage,
    chat::{ChatRequest, Message},
};

/// The tool that the demo calls for a fenced Python block.
const SCRIPT_TOOL: &str = "execute_python_script";

/// The demo model.
#[derive(Clone, Copy, Debug)]
pub struct Demo;

#[async_trait]
impl Model for Demo {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        let events = answer(request).into_iter().map(Ok);
        // Yielding between words lets each be written to the client on its own, as a real model's would.
        let paced = stream::iter(events).then(async |event| {
            tokio::task::yield_now().await;
            event
        });
        Ok(paced.boxed())
    }
}

/// The whole answer to `request`.
fn answer(request: &ChatRequest) -> Vec<Event> {
    let (said, finish) = match reply(request) {
        Reply::Say(text) => (
            words(&text).map(|word| Event::Content(word.to_owned())).collect(),
            "stop",
        ),
        Reply::Run(script) => (
            vec![Event::ToolCall(call(&script, request.messages.len()))],
            "tool_calls",
        ),
    };
    let prompt = request
        .messages
        .iter()
        .map(|message| words(&message.plain_text()).count())
        .sum::<usize>();
    let usage = Usage::new(prompt as u64, said.len() as u64);
    let head = [Event::Role("assistant".to_owned())];
    head.into_iter()
        .chain(said)
        .chain([Event::Finish(finish.to_owned()), Event::Usage(usage)])
        .collect()
}

enum Reply {
    Say(String),
    Run(String),
}

fn reply(request: &ChatRequest) -> Reply {
    let results = results(&request.messages);
    if !results.is_empty() {
        let text = format!(
            "I am RockBot's demo model. The script answered:\n```\n{}\n```",
            results.join("\n").trim_end()
        );
        return Reply::Say(text);
    }
    let question = last_question(&request.messages);
    match python_block(&question) {
        Some(script) if offers(request, SCRIPT_TOOL) => Reply::Run(script.to_owned()),
        Some(_) => Reply::Say(format!(
            "I am RockBot's demo model. I see a Python block, but this agent has no {SCRIPT_TOOL}: \
             switch it on with spec.tools.scripts."
        )),
        None => Reply::Say(format!(
            "I am RockBot's demo model, without any intelligence: I repeat what I am told and run fenced Python \
             blocks. You said: {question}"
        )),
    }
}

/// Results of the calls that were made since the user spoke last.
fn results(messages: &[Message]) -> Vec<String> {
    let tail = messages.iter().rev().take_while(|message| message.role != "user");
    let mut results: Vec<_> = tail
        .filter(|message| message.role == "tool")
        .map(Message::plain_text)
        .collect();
    results.reverse();
    results
}

fn last_question(messages: &[Message]) -> String {
    let question = messages.iter().rev().find(|message| message.role == "user");
    question.map(Message::plain_text).unwrap_or_default()
}

fn offers(request: &ChatRequest, tool: &str) -> bool {
    request
        .tools
        .iter()
        .flatten()
        .any(|offered| offered.name() == Some(tool))
}

/// The first block that is fenced as Python.
fn python_block(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("```python").or_else(|| text.split_once("```py"))?;
    let (_, body) = rest.split_once('\n')?;
    let end = body.find("```").unwrap_or(body.len());
    Some(&body[..end])
}

fn call(script: &str, position: usize) -> ToolCallDelta {
    ToolCallDelta {
        index: 0,
        // The position in the conversation keeps ids of one conversation apart without any randomness.
        id: Some(format!("demo{position}")),
        name: Some(SCRIPT_TOOL.to_owned()),
        arguments: json!({ "script": script }).to_string(),
        ..ToolCallDelta::default()
    }
}

/// `text` cut after each run of white space, so that the pieces joined are the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}
