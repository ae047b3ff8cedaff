//! Elects the replica that reconciles. A term ends with the process, and as soon as the Lease cannot be renewed.

use std::time::Duration;

use futures::future::{Either, select};
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use rockbot_operator_plan::backoff;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Seconds after which a Lease that was not renewed is anybody's.
const LEASE_SECONDS: u64 = 15;
/// Seconds before that at which it is renewed.
const RENEW_BEFORE_SECONDS: u64 = 10;
/// How often a follower looks whether the Lease was handed back; it would notice by itself only when it has run out.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Time to hand the Lease back.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// Where the Lease is, and who wants it.
pub(crate) struct Candidate {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) lease_name: String,
    pub(crate) pod_name: String,
}

impl Candidate {
    /// Runs `lead` whenever this process is the leader, until `stop`. The token that it is given says when to end; nobody else
    /// is elected before it has ended.
    pub(crate) async fn campaign(&self, stop: &CancellationToken, lead: impl AsyncFn(CancellationToken)) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            match self.term(stop, &lead).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    let pause = backoff(failures, rand::random()).min(Duration::from_secs(LEASE_SECONDS));
                    warn!(error = &error as &dyn std::error::Error, retry_in = ?pause, "no hold of the Lease");
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    /// Leads and hands the Lease back, if it can be had for now.
    async fn term(
        &self,
        stop: &CancellationToken,
        lead: &impl AsyncFn(CancellationToken),
    ) -> Result<(), LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(self.client.clone(), &self.lease_name)
            .with_namespace(&self.namespace)
            .with_identity(&self.pod_name)
            .with_duration(LEASE_SECONDS)
            .with_grace(RENEW_BEFORE_SECONDS)
            .with_field_manager(format!("rockbot-operator-{}", self.pod_name))
            .build()
            .await?;
        match stop.run_until_cancelled(timeout(LOOK_EVERY, manager.changed())).await {
            Some(Ok(Ok(true))) => {}
            Some(Ok(Ok(false)) | Err(_)) | None => return Ok(()),
            Some(Ok(Err(error))) => return Err(error),
        }
        info!("this process leads");
        let end = stop.child_token();
        let (leading, renewing) = (Box::pin(lead(end.clone())), Box::pin(manager.changed()));
        let outcome = match select(leading, renewing).await {
            Either::Left(((), _)) => Ok(()),
            Either::Right((lost, leading)) => {
                end.cancel();
                leading.await;
                lost.map(drop)
            }
        };
        info!("this process no longer leads");
        hand_back(&manager).await;
        outcome
    }
}

/// The next leader need not wait for the Lease to run out. If this fails, it has to.
async fn hand_back(manager: &LeaseManager) {
    match timeout(RELEASE_WITHIN, manager.release()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(
            error = &error as &dyn std::error::Error,
            "the Lease was not handed back"
        ),
        Err(_) => warn!("the Lease was not handed back in time"),
    }
}
