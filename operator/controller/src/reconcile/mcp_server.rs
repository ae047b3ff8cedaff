//! Reconciles an McpServer: validate, build, apply, ask the server for its tools, report.

use std::sync::Arc;

use kube::runtime::controller::Action;
use rockbot_crds::McpServer;
use rockbot_operator_plan::{
    Discovery, Outcome, mcp_server_objects, mcp_server_status, pods_are_ready, validate_mcp_server,
};

use super::{ReconcileError, agent::now, next};
use crate::{
    apply::apply,
    context::Context,
    write_status::{tell, write_status},
};

pub(super) async fn reconcile(server: Arc<McpServer>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if server.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (outcome, discovery, again) = match validate_mcp_server(&server) {
        Ok(valid) => {
            let objects = mcp_server_objects(&valid, &context.shared.settings);
            let outcome = apply(&context.shared, &server.metadata, objects).await?;
            let is_up = pods_are_ready(&outcome);
            let (discovery, again) = context.discoveries.of(&server, valid.url(), is_up);
            (outcome, discovery, again)
        }
        Err(invalid) => (Outcome::Invalid(invalid), Discovery::Pending, None),
    };
    let before = server.status.as_ref();
    let after = mcp_server_status(&server, &outcome, &discovery, &now());
    write_status::<McpServer, _>(&context, &*server, before, &after).await?;
    let reported = before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    tell(&context, &*server, reported, &after.conditions).await;
    next(&outcome, again)
}
