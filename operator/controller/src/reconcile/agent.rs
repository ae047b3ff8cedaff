//! Reconciles an Agent: look up what it names, validate, build, apply, report.

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use rockbot_crds::{Agent, McpServer};
use rockbot_operator_plan::{Outcome, References, ValidAgent, agent_objects, agent_status, resolve, validate_agent};

use super::{ReconcileError, next};
use crate::{
    apply::apply,
    context::Context,
    write_status::{tell, write_status},
};

pub(super) async fn reconcile(agent: Arc<Agent>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if agent.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (outcome, named) = match validate_agent(&agent) {
        Ok(valid) => {
            let named = look_up(&context, &valid);
            let objects = agent_objects(&valid, &named, &context.shared.settings);
            (apply(&context.shared, &agent.metadata, objects).await?, named)
        }
        Err(invalid) => (Outcome::Invalid(invalid), References::default()),
    };
    let before = agent.status.as_ref();
    let after = agent_status(&agent, &outcome, &named, &now());
    write_status::<Agent, _>(&context, &*agent, before, &after).await?;
    let reported = before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    tell(&context, &*agent, reported, &after.conditions).await;
    next(&outcome, None)
}

/// What an agent names, as the watches have it.
fn look_up(context: &Context, agent: &ValidAgent) -> References {
    let key = |name: &str| ObjectRef::new(name).within(&agent.owner.namespace);
    let found: Vec<Arc<McpServer>> = agent
        .mcp_servers
        .iter()
        .filter_map(|(name, _)| context.shared.stores.mcp_servers.get(&key(name))?.readable().cloned())
        .collect();
    let server = |name: &str| found.iter().find(|server| server.name_any() == name).map(AsRef::as_ref);
    let has_agent = |name: &str| {
        let key = ObjectRef::new(name).within(&agent.owner.namespace);
        context.shared.stores.agents.get(&key).is_some()
    };
    resolve(agent, server, has_agent)
}

/// The time for conditions, in whole seconds, as Kubernetes writes it.
pub(super) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
