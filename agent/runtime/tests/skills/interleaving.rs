//! S15 as a property: however 64 clients are interleaved, each sees its own request and nothing of another's.

use std::{pin::Pin, sync::Arc, task::Poll};

use async_trait::async_trait;
use futures::{Stream, StreamExt, stream, task::noop_waker};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rockbot_agent::{
    Agent, Environment, RequestContext, TurnError, TurnEvent,
    sdk::{Context, Delta, skill},
};
use rockbot_llm::{
    Event, EventStream, Model, ModelError, ToolCallDelta,
    chat::{ChatRequest, Message, Tool},
};
use serde_json::json;

const CLIENTS: usize = 64;

/// Calls the agent's tool with the user's text, then the client's own tool, and says what all of them have answered.
struct Repeating;

#[async_trait]
impl Model for Repeating {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        let results: Vec<_> = request
            .messages
            .iter()
            .filter(|message| message.role == "tool")
            .collect();
        let tools: Vec<_> = request.tools.iter().flatten().filter_map(Tool::name).collect();
        let events = match results.len() {
            // Every client is given the same identities.
            0 => vec![
                call(0, "remember", "{}"),
                call(1, tools[1], "{}"),
                Event::Finish("tool_calls".to_owned()),
            ],
            _ => {
                let said: Vec<_> = results.into_iter().map(Message::plain_text).collect();
                let system = request.messages[0].plain_text();
                let text = format!("{system} {} {}", tools.join(","), said.join(" "));
                let letters = text.chars().map(|letter| Event::Content(letter.to_string()));
                letters.chain([Event::Finish("stop".to_owned())]).collect()
            }
        };
        let paced = stream::iter(events).then(async |event| {
            tokio::task::yield_now().await;
            Ok(event)
        });
        Ok(paced.boxed())
    }
}

fn call(index: u32, name: &str, arguments: &str) -> Event {
    Event::ToolCall(ToolCallDelta {
        index,
        id: Some(format!("call_{index}")),
        name: Some(name.to_owned()),
        arguments: arguments.to_owned(),
        ..ToolCallDelta::default()
    })
}

struct Memory;

#[skill]
impl Memory {
    #[hook(on_connection)]
    fn begin(context: &Context) {
        context.set("user", context.user_id.clone());
    }

    #[prompt]
    async fn name(context: &Context) -> String {
        tokio::task::yield_now().await;
        format!("[{}]", context.user_id)
    }

    /// Says who asks.
    #[tool]
    async fn remember(&self, context: &Context) -> Option<rockbot_agent::sdk::Value> {
        tokio::task::yield_now().await;
        context.get("user")
    }

    #[hook(on_chunk)]
    async fn stamp(context: &Context, chunk: &mut Delta) {
        tokio::task::yield_now().await;
        if let Delta::Content(text) = chunk {
            text.push_str(&context.user_id[..1]);
        }
    }
}

type Running = Pin<Box<dyn Stream<Item = Result<TurnEvent, TurnError>> + Send>>;

struct Client {
    name: String,
    messages: Vec<Message>,
    turn: Option<Running>,
    text: String,
    calls: Vec<ToolCallDelta>,
}

impl Client {
    fn new(number: usize) -> Self {
        // The letter differs from neighbour to neighbour, and shows in every chunk.
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
        Self {
            name: format!("{letter}{number}"),
            messages: vec![Message::text("user", "who am I?")],
            turn: None,
            text: String::new(),
            calls: Vec::new(),
        }
    }

    fn ask(&mut self, agent: &Arc<Agent>) {
        let tools = vec![Tool::function(&format!("tool_of_{}", self.name), "", json!({}))];
        let request = ChatRequest {
            messages: self.messages.clone(),
            tools: Some(tools),
            ..ChatRequest::default()
        };
        let asked = RequestContext {
            user_id: self.name.clone(),
            ..RequestContext::anonymous("same for all")
        };
        self.turn = Some(Box::pin(agent.turn(request, asked).unwrap()));
    }

    /// Polls once; whether the conversation is over.
    fn step(&mut self, agent: &Arc<Agent>) -> bool {
        let waker = noop_waker();
        let Some(turn) = &mut self.turn else {
            self.ask(agent);
            return false;
        };
        match turn.as_mut().poll_next(&mut std::task::Context::from_waker(&waker)) {
            Poll::Pending => {}
            Poll::Ready(Some(event)) => match event.unwrap() {
                TurnEvent::Delta(Delta::Content(text)) => self.text.push_str(&text),
                TurnEvent::Delta(Delta::ToolCall(call)) => self.calls.push(call),
                _ => {}
            },
            Poll::Ready(None) if self.messages.len() > 1 => return true,
            Poll::Ready(None) => self.answer_call(agent),
        }
        false
    }

    /// The first turn has ended with a call of the client's tool.
    fn answer_call(&mut self, agent: &Arc<Agent>) {
        assert_eq!(self.calls.len(), 1, "{}", self.name);
        let call = &self.calls[0];
        assert_eq!(call.name.as_deref(), Some(&*format!("tool_of_{}", self.name)));
        let id = call.id.clone().unwrap();
        let called = json!({ "role": "assistant", "tool_calls": [{
            "id": id, "type": "function", "function": { "name": call.name, "arguments": "{}" },
        }] });
        self.messages.push(serde_json::from_value(called).unwrap());
        self.messages
            .push(Message::tool_result(&id, format!("result of {}", self.name)));
        self.ask(agent);
    }

    fn check(&self) {
        let Self { name, text, .. } = self;
        let letter = &name[..1];
        let plain: String = text.chars().step_by(2).collect();
        assert_eq!(
            plain,
            format!("[{name}] remember,tool_of_{name} {name} result of {name}")
        );
        assert!(
            text.chars().skip(1).step_by(2).all(|stamp| letter.starts_with(stamp)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn s15_any_interleaving_of_64_clients_keeps_them_apart() {
    let config = json!({ "name": "a", "model": { "provider": "Demo" } });
    let environment = Environment {
        skills: vec![Arc::new(Memory)],
        ..Environment::default()
    };
    for seed in 0..8 {
        let config = serde_json::from_value(config.clone()).unwrap();
        let agent = Agent::with_model(config, Arc::new(Repeating), &environment).unwrap();
        let mut dice = StdRng::seed_from_u64(seed);
        let mut clients: Vec<_> = (0..CLIENTS).map(Client::new).collect();
        let mut running: Vec<_> = (0..CLIENTS).collect();
        while let Some(&number) = running.choose(&mut dice) {
            // Some run for a while, others crawl.
            for _ in 0..dice.random_range(1..20) {
                if clients[number].step(&agent) {
                    running.retain(|other| *other != number);
                    break;
                }
                // The runtime wakes what has yielded only when it gets a turn itself.
                tokio::task::yield_now().await;
            }
        }
        clients.iter().for_each(Client::check);
    }
}
