//! Makes the children of a resource what they should be. The only code that creates, changes or deletes a child.
//!
//! Everything is looked at before anything is written: when a name is taken, nothing is. A child that is as it should be
//! costs no request at all.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::Status,
};
use rockbot_operator_plan::{
    FIELD_MANAGER, Objects, Outcome, Ownership, is_up_to_date, never_smaller, ownership, seal,
};
use thiserror::Error;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::{
    context::Shared,
    watches::{Child, Watched},
};

/// How long the stores may take to show what was written. Beyond it the next reconcile may write the same again.
const VISIBLE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why children are not what they should be.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    #[error("{kind} {name} was not made for this resource")]
    Conflict { kind: String, name: String },
    #[error("{kind} {name} still belongs to a deleted resource of the same name")]
    Leftover { kind: String, name: String },
    #[error("the API server refuses {kind} {name}: {message}")]
    Refused {
        kind: String,
        name: String,
        message: String,
    },
    #[error("the namespace is being deleted")]
    Ending,
    #[error("failed to {verb} {kind} {name}")]
    Api {
        verb: &'static str,
        kind: String,
        name: String,
        source: Box<kube::Error>,
    },
}

/// Makes the children of `parent` what `objects` says. What keeps that from being done is an outcome when a person has to
/// act, and an error when trying again will do.
pub(crate) async fn apply(shared: &Shared, parent: &ObjectMeta, objects: Objects) -> Result<Outcome, ApplyError> {
    match all(shared, parent, objects).await {
        Err(ApplyError::Conflict { kind, name }) => Ok(Outcome::Conflict { kind, name }),
        Err(ApplyError::Refused { kind, name, message }) => Ok(Outcome::Refused {
            message: format!("{kind} {name}: {message}"),
        }),
        other => other,
    }
}

async fn all(shared: &Shared, parent: &ObjectMeta, objects: Objects) -> Result<Outcome, ApplyError> {
    let Objects {
        service_account,
        config_map,
        network_policy,
        service,
        volume_claim,
        deployment,
    } = objects;
    let volume_claim = volume_claim.map(|claim| {
        let live = known(shared, &claim);
        never_smaller(claim, live.as_ref())
    });
    let (service_account, config_map, network_policy, service, volume_claim, deployment) = tokio::try_join!(
        Step::plan(shared, parent, service_account),
        Step::plan(shared, parent, config_map),
        Step::plan(shared, parent, network_policy),
        Step::plan(shared, parent, service),
        Step::plan(shared, parent, volume_claim),
        Step::plan(shared, parent, deployment),
    )?;
    service_account.take(shared).await?;
    config_map.take(shared).await?;
    network_policy.take(shared).await?;
    service.take(shared).await?;
    volume_claim.without_orphans().take(shared).await?;
    let deployment = deployment.take(shared).await?;
    Ok(Outcome::Applied(deployment.map(Box::new)))
}

/// What is to be done about the children of one kind.
struct Step<K> {
    orphans: Vec<K>,
    action: Action<K>,
}

enum Action<K> {
    Nothing(Option<K>),
    Apply { desired: Box<K>, live: Option<K> },
}

impl<K: Child> Step<K> {
    async fn plan(shared: &Shared, parent: &ObjectMeta, desired: Option<K>) -> Result<Self, ApplyError> {
        let desired = desired.map(seal);
        let name = desired.as_ref().map(ResourceExt::name_any).unwrap_or_default();
        let orphans = K::children(&shared.stores).of_owner_except(parent.uid.as_deref().unwrap_or_default(), &name);
        let Some(desired) = desired else {
            return Ok(Self {
                orphans,
                action: Action::Nothing(None),
            });
        };
        let live = known(shared, &desired);
        match &live {
            Some(live) => ours_or_not(live.meta(), parent, &K::kind(&()))?,
            None => is_free(shared, parent, &desired).await?,
        }
        let action = match live {
            Some(live) if is_up_to_date(&desired, &live) => Action::Nothing(Some(live)),
            live => Action::Apply {
                desired: Box::new(desired),
                live,
            },
        };
        Ok(Self { orphans, action })
    }

    /// No edit of a resource deletes what its pods have kept.
    fn without_orphans(self) -> Self {
        Self {
            orphans: Vec::new(),
            ..self
        }
    }

    async fn take(self, shared: &Shared) -> Result<Option<K>, ApplyError> {
        for orphan in &self.orphans {
            delete(shared, orphan).await?;
        }
        match self.action {
            Action::Nothing(live) => Ok(live),
            Action::Apply { desired, live } => {
                let api = api_of(shared, &*desired);
                let parameters = PatchParams::apply(FIELD_MANAGER).force();
                shared.metrics.wrote("patch", &K::plural(&()));
                let applied = api
                    .patch(&desired.name_any(), &parameters, &Patch::Apply(&desired))
                    .await;
                let applied = applied.map_err(|error| failed("apply", &*desired, error))?;
                let (namespace, name) = (applied.namespace().unwrap_or_default(), applied.name_any());
                let seen = || K::children(&shared.stores).resource_version(&namespace, &name);
                until_visible(seen, &applied, live.as_ref().and_then(ResourceExt::resource_version)).await;
                Ok(Some(applied))
            }
        }
    }
}

async fn delete<K: Child>(shared: &Shared, orphan: &K) -> Result<(), ApplyError> {
    let ObjectMeta { uid, .. } = orphan.meta().clone();
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    shared.metrics.wrote("delete", &K::plural(&()));
    match api_of(shared, orphan).delete(&orphan.name_any(), &parameters).await {
        Ok(_) => Ok(()),
        // Somebody was faster.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(failed("delete", orphan, error)),
    }
}

/// Nobody else has the name: a label that we watch by can be missing from an object.
async fn is_free<K: Child>(shared: &Shared, parent: &ObjectMeta, desired: &K) -> Result<(), ApplyError> {
    match api_of(shared, desired).get_metadata_opt(&desired.name_any()).await {
        Ok(None) => Ok(()),
        Ok(Some(found)) => ours_or_not(&found.metadata, parent, &K::kind(&())),
        Err(error) => Err(failed("get", desired, error)),
    }
}

fn ours_or_not(child: &ObjectMeta, parent: &ObjectMeta, kind: &str) -> Result<(), ApplyError> {
    let (kind, name) = (kind.to_owned(), child.name.clone().unwrap_or_default());
    match ownership(child, parent) {
        Ownership::Ours => Ok(()),
        Ownership::Leftover => Err(ApplyError::Leftover { kind, name }),
        Ownership::Foreign => Err(ApplyError::Conflict { kind, name }),
    }
}

/// Waits until the version that is `seen` is the one that was written, or a newer one than `before`, so that the next reconcile
/// does not write it again.
pub(crate) async fn until_visible<K: Watched>(seen: impl Fn() -> Option<String>, written: &K, before: Option<String>) {
    let written_version = written.resource_version();
    let wait = async {
        loop {
            let seen = seen();
            if seen == written_version || seen != before {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    if timeout(VISIBLE_WITHIN, wait).await.is_err() {
        debug!(kind = %K::kind(&()), name = written.name_any(), "the watch is late");
    }
}

/// The live object in the place of another.
fn known<K: Child>(shared: &Shared, object: &K) -> Option<K> {
    K::children(&shared.stores).get(&object.namespace().unwrap_or_default(), &object.name_any())
}

fn api_of<K: Child>(shared: &Shared, object: &K) -> Api<K> {
    Api::namespaced(shared.client.clone(), &object.namespace().unwrap_or_default())
}

fn failed<K: Child>(verb: &'static str, object: &K, error: kube::Error) -> ApplyError {
    let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
    match error {
        kube::Error::Api(status) if is_of_ending_namespace(&status) => ApplyError::Ending,
        kube::Error::Api(status) if (400..500).contains(&status.code) && !matches!(status.code, 409 | 429) => {
            ApplyError::Refused {
                kind,
                name,
                message: status.message,
            }
        }
        error => ApplyError::Api {
            verb,
            kind,
            name,
            source: Box::new(error),
        },
    }
}

fn is_of_ending_namespace(status: &Status) -> bool {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}
