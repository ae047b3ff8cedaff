//! The pods that a task of this process starts, holds or deletes, and what the watch says of each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{leftovers::Facts, pod::StartError};

/// How long the kubelet may take to say how a container ended. It looks about once a second.
const VERDICT_DEADLINE: Duration = Duration::from_secs(5);

/// All of them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    mine: Arc<Mutex<HashMap<String, watch::Sender<Facts>>>>,
}

/// One of them, for as long as somebody takes care of it.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    name: String,
    facts: watch::Receiver<Facts>,
}

impl Claims {
    /// A new name, for ever, which says what the pod is for.
    pub(crate) fn claim(&self, purpose: &str) -> Claim {
        let name = format!("{purpose}-{:016x}", rand::random::<u64>());
        let (sender, facts) = watch::channel(Facts::default());
        self.mine().insert(name.clone(), sender);
        Claim {
            claims: self.clone(),
            name,
            facts,
        }
    }

    /// Takes in what the watch says about a pod.
    pub(crate) fn note(&self, name: &str, facts: &Facts) {
        if let Some(known) = self.mine().get(name) {
            known.send_if_modified(|before| {
                let changed = before != facts;
                before.clone_from(facts);
                changed
            });
        }
    }

    /// Of these pods, those that nobody will use or delete. `instance` is this manager.
    pub(crate) fn leftovers<'a>(&self, seen: &'a HashMap<String, Facts>, instance: &str, now: i64) -> Vec<&'a str> {
        let mine = self.mine();
        seen.iter()
            .filter(|(name, facts)| !mine.contains_key(*name) && facts.is_leftover(instance, now))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Why a pod does not run yet, when the kubelet or the scheduler has said so of any.
    pub(crate) fn problem(&self) -> Option<String> {
        self.mine().values().find_map(|facts| facts.borrow().problem.clone())
    }

    fn mine(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Facts>>> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Name of the pod.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the pod has come so far.
    pub(crate) async fn wait_for(&mut self, arrived: impl Fn(&Facts) -> bool) -> Result<(), StartError> {
        match self.facts.wait_for(|facts| arrived(facts) || facts.is_over()).await {
            Ok(facts) if !facts.is_over() => Ok(()),
            _ => Err(StartError::Ended),
        }
    }

    /// Returns when nothing will ever run in the pod again, because it ended or somebody deletes it.
    pub(crate) async fn over(&mut self) {
        // The sender is there as long as the claim.
        let _ = self.facts.wait_for(Facts::is_over).await;
    }

    /// What is known of its end, once somebody has said why it ended, or that nobody will.
    pub(crate) async fn verdict(&mut self) -> Facts {
        let told = self.facts.wait_for(|facts| facts.cause.is_some() || facts.is_over());
        let _ = timeout(VERDICT_DEADLINE, told).await;
        self.facts.borrow().clone()
    }

    /// Whether the kubelet has said that its container runs.
    pub(crate) fn is_running(&self) -> bool {
        self.facts.borrow().running
    }

    /// It should, and does not.
    pub(crate) fn not_running(&self) -> StartError {
        let problem = self.facts.borrow().problem.as_ref().map(|text| format!(": {text}"));
        StartError::NotRunning {
            problem: problem.unwrap_or_default(),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.mine().remove(&self.name);
    }
}
