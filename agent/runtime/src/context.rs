//! The request, as tools, hooks, prompts and handoffs see it while it is answered.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rockbot_llm::Usage;
use serde_json::{Map, Value};

use crate::scope::ALL;

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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    values: Map<String, Value>,
    usage: Usage,
}

impl Context {
    /// A request to `agent`.
    pub fn new(agent: impl Into<String>, asked: RequestContext) -> Self {
        Self(Arc::new(Request {
            agent: agent.into(),
            asked,
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
        self.state().usage.clone()
    }

    pub(crate) fn add_usage(&self, usage: &Usage) {
        self.state().usage.add(usage);
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
