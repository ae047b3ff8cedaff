//! What to report, from what was found. Deciding it takes no I/O; a timestamp is new only when a condition changed.

mod agent;
mod conditions;
mod mcp_server;
mod rollout;
#[cfg(test)]
mod tests;
mod unreadable;

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Condition};
use rockbot_crds::conditions::{ConditionType, Reason, find};

use crate::validate::Invalid;

pub use agent::{agent_status, tool_names};
pub use mcp_server::{Discovered, Discovery, mcp_server_status};
pub use rollout::pods_are_ready;
pub use unreadable::unreadable_status;

/// What became of the children of a resource.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// They are as they should be; here is what the cluster says about the pods, if there are any.
    Applied(Option<Box<Deployment>>),
    /// Nothing was done: the spec is wrong.
    Invalid(Invalid),
    /// Nothing was done: somebody else's object has the name of a child.
    Conflict {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The API server refused a child.
    Refused {
        /// In the API server's words.
        message: String,
    },
}

/// A change that is worth an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whether somebody should do something about it.
    pub is_warning: bool,
    /// Reason of the condition `Ready`.
    pub reason: String,
    /// Message of the condition `Ready`.
    pub message: String,
}

/// What changed about `Ready`, if anything did. That something new is on its way is no news.
pub fn transition(before: &[Condition], after: &[Condition]) -> Option<Transition> {
    let after_ready = find(after, ConditionType::Ready)?;
    let is_news = match find(before, ConditionType::Ready) {
        Some(before) => before.reason != after_ready.reason || before.status != after_ready.status,
        None => find(after, ConditionType::Reconciling).is_none(),
    };
    if !is_news {
        return None;
    }
    Some(Transition {
        is_warning: find(after, ConditionType::Stalled).is_some()
            || after_ready.reason == Reason::DiscoveryFailed.as_str(),
        reason: after_ready.reason.clone(),
        message: after_ready.message.clone(),
    })
}
