//! An agent with skills on a model that follows a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use rockbot_agent::{Agent, Environment, RequestContext, TurnEvent, skills::Skill, turn::Delta};
use rockbot_llm::{
    Event, EventStream, Model, ModelError, ToolCallDelta,
    chat::{ChatRequest, Message},
};
use serde_json::{Value, json};

/// Answers with the next of its lists of events, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Scripted {
    answers: Mutex<VecDeque<Vec<Event>>>,
    asked: Mutex<Vec<ChatRequest>>,
}

#[async_trait]
impl Model for Scripted {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        self.asked.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| say("done"));
        Ok(stream::iter(answer.into_iter().map(Ok)).boxed())
    }
}

/// The model says `text`.
pub(crate) fn say(text: &str) -> Vec<Event> {
    vec![Event::Content(text.to_owned()), Event::Finish("stop".to_owned())]
}

/// The model calls these tools at once.
pub(crate) fn call(calls: &[(&str, Value)]) -> Vec<Event> {
    let calls = calls.iter().enumerate().map(|(index, (name, arguments))| {
        Event::ToolCall(ToolCallDelta {
            index: u32::try_from(index).unwrap(),
            id: Some(format!("call_{index}")),
            name: Some((*name).to_owned()),
            arguments: arguments.to_string(),
            ..ToolCallDelta::default()
        })
    });
    calls.chain([Event::Finish("tool_calls".to_owned())]).collect()
}

pub(crate) struct Site {
    pub(crate) agent: Arc<Agent>,
    model: Arc<Scripted>,
}

impl Site {
    /// The agent `a` with these skills, whose model gives these answers, and then says "done".
    pub(crate) fn new(skills: Vec<Arc<dyn Skill>>, answers: impl IntoIterator<Item = Vec<Event>>) -> Self {
        Self::instructed("Be kind.", skills, answers)
    }

    pub(crate) fn instructed(
        instructions: &str,
        skills: Vec<Arc<dyn Skill>>,
        answers: impl IntoIterator<Item = Vec<Event>>,
    ) -> Self {
        let config = json!({ "name": "a", "instructions": instructions, "model": { "provider": "Demo" } });
        let environment = Environment {
            skills,
            ..Environment::default()
        };
        Self::configured(config, &environment, answers)
    }

    pub(crate) fn configured(
        config: Value,
        environment: &Environment,
        answers: impl IntoIterator<Item = Vec<Event>>,
    ) -> Self {
        let model = Arc::new(Scripted {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Scripted::default()
        });
        let config = serde_json::from_value(config).unwrap();
        let agent = Agent::with_model(config, model.clone(), environment).unwrap();
        Self { agent, model }
    }

    /// Asks the agent as somebody who holds `scope`, and reads everything that happens.
    pub(crate) async fn ask_as(&self, scope: &str) -> Vec<TurnEvent> {
        let request = serde_json::from_value(json!({ "messages": [{ "role": "user", "content": "go" }] })).unwrap();
        let turn = self.agent.turn(request, asked(scope)).unwrap();
        turn.map(Result::unwrap).collect().await
    }

    /// Asks the agent as anybody, and returns the text of the answer.
    pub(crate) async fn ask(&self) -> String {
        text(&self.ask_as("all").await)
    }

    /// What the model read, request by request.
    pub(crate) fn model_saw(&self) -> Vec<ChatRequest> {
        self.model.asked.lock().unwrap().clone()
    }

    /// The results of tools that the model read last, as text.
    pub(crate) fn results(&self) -> Vec<String> {
        let saw = self.model_saw();
        let messages = &saw.last().unwrap().messages;
        let results = messages.iter().filter(|message| message.role == "tool");
        results.map(Message::plain_text).collect()
    }
}

pub(crate) fn asked(scope: &str) -> RequestContext {
    RequestContext {
        user_id: "ada".to_owned(),
        scope: scope.to_owned(),
        ..RequestContext::anonymous("request")
    }
}

pub(crate) fn text(events: &[TurnEvent]) -> String {
    let texts = events.iter().filter_map(|event| match event {
        TurnEvent::Delta(Delta::Content(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}
