//! The request, as tools, hooks, prompts and handoffs see it while it is answered.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rockbot_llm::{Usage, chat::Message};
use serde_json::{Map, Value, json};

use crate::{
    peers::{Peers, Task},
    scope::ALL,
    skills::HandoffResult,
};

/// Who asks.
///
/// The server takes the users from headers that anyone can send: they are for logs and for skills, and grant nothing.
/// What a caller may do is its scope alone, which the server derives from its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// Identity of the request.
    pub request_id: String,
    /// Who talks to the agent: a person, or another agent.
    pub user_id: String,
    /// Who pays.
    pub payment_user_id: String,
    /// Who began the conversation, when agents talk to agents.
    pub origin_user_id: String,
    /// Who owns the agent.
    pub agent_owner_id: String,
    /// The scope that the caller holds.
    pub scope: String,
    /// The agents through whose hands the request has come, the first to be asked first. Empty when it comes from
    /// somebody else.
    pub handoffs: Vec<String>,
}

impl RequestContext {
    /// Nobody in particular, who holds no more than everybody.
    pub fn anonymous(request_id: impl Into<String>) -> Self {
        let anonymous = || "anonymous".to_owned();
        Self {
            request_id: request_id.into(),
            user_id: anonymous(),
            payment_user_id: anonymous(),
            origin_user_id: anonymous(),
            agent_owner_id: anonymous(),
            scope: ALL.to_owned(),
            handoffs: Vec::new(),
        }
    }
}

/// A request while it is answered: who asks, what it has cost, and what skills remember for as long as it runs.
///
/// Clones are the same request. Dereferences to [`RequestContext`].
#[derive(Clone, Debug)]
pub struct Context(Arc<Request>);

#[derive(Debug)]
struct Request {
    agent: String,
    asked: RequestContext,
    /// What the client has sent, for handoffs that pass it on; empty where there is none that could.
    conversation: Vec<Message>,
    peers: Option<Arc<Peers>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    values: Map<String, Value>,
    /// What the rounds before have cost.
    spent: Usage,
    /// What this one has cost so far.
    round: Usage,
}

impl State {
    fn usage(&self) -> Usage {
        let mut usage = self.spent.clone();
        usage.add(&self.round);
        usage
    }
}

impl Context {
    /// A request to `agent`, which knows no other agents.
    pub fn new(agent: impl Into<String>, asked: RequestContext) -> Self {
        Self(Arc::new(Request {
            agent: agent.into(),
            asked,
            conversation: Vec::new(),
            peers: None,
            state: Mutex::default(),
        }))
    }

    /// A request to `agent` that `peers` can be handed.
    pub(crate) fn among(
        peers: &Arc<Peers>,
        agent: impl Into<String>,
        asked: RequestContext,
        conversation: Vec<Message>,
    ) -> Self {
        Self(Arc::new(Request {
            agent: agent.into(),
            asked,
            conversation,
            peers: Some(Arc::clone(peers)),
            state: Mutex::default(),
        }))
    }

    /// Name of the agent that is asked.
    pub fn agent(&self) -> &str {
        &self.0.agent
    }

    /// The value that a skill has set under `key` during this request.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.state().values.get(key).cloned()
    }

    /// Remembers `value` until the request ends.
    pub fn set(&self, key: impl Into<String>, value: impl Into<Value>) {
        self.state().values.insert(key.into(), value.into());
    }

    /// What the request has cost so far.
    pub fn usage(&self) -> Usage {
        self.state().usage()
    }

    /// Hands `task` to the agent `name` of the same namespace, on behalf of whoever asks this one, and waits for its
    /// answer. The task is all that it learns.
    ///
    /// It is sent the key of the first declared handoff to it that has one, and whose scope admits the caller.
    ///
    /// That there is no such agent, that it fails, or that it has handed this very request on, is a result with
    /// `success: false`.
    pub async fn ask_agent(&self, name: &str, task: &str) -> HandoffResult {
        let Some(peers) = &self.0.peers else {
            return HandoffResult::failed("this agent knows no other agents");
        };
        let task = Task {
            agent: name,
            text: task,
            with_conversation: false,
            key_file: peers.key_for(name, self),
        };
        peers.ask(self, &task).await
    }

    /// What templates and webhooks learn of the request.
    pub(crate) fn variables(&self) -> Map<String, Value> {
        let RequestContext {
            request_id,
            user_id,
            payment_user_id,
            origin_user_id,
            agent_owner_id,
            scope,
            ..
        } = &self.0.asked;
        let variables = json!({
            "agent": self.0.agent,
            "request_id": request_id,
            "user_id": user_id,
            "payment_user_id": payment_user_id,
            "origin_user_id": origin_user_id,
            "agent_owner_id": agent_owner_id,
            "scope": scope,
            "values": self.state().values,
        });
        match variables {
            Value::Object(variables) => variables,
            _ => Map::new(),
        }
    }

    pub(crate) fn conversation(&self) -> &[Message] {
        &self.0.conversation
    }

    /// A round begins, which has cost nothing yet.
    pub(crate) fn begin_round(&self) {
        let mut state = self.state();
        let round = std::mem::take(&mut state.round);
        state.spent.add(&round);
    }

    /// Takes in what the round has cost so far, and returns what the request has.
    pub(crate) fn count(&self, round: Usage) -> Usage {
        let mut state = self.state();
        state.round = round;
        state.usage()
    }

    /// Nothing that can panic runs under the lock, so a poisoned state is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Context {
    type Target = RequestContext;

    fn deref(&self) -> &RequestContext {
        &self.0.asked
    }
}
