//! The one watch on script pods: it says which run, and deletes what nobody else will.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};
use rockbot_sandbox::selector;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{leftovers::Facts, metrics::Metrics, pod::Pods};

/// Time between two looks for leftovers.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// Watches until `stop`.
pub(crate) async fn run(pods: Pods, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut events = pin!(watcher(pods.api(), Config::default().labels(&selector())).default_backoff());
    let mut sweep = interval(SWEEP_PERIOD);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = Watched {
        pods,
        metrics,
        seen: HashMap::new(),
        listed: HashMap::new(),
        sweeping: None,
    };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => watched.take_in(event),
                Some(Err(error)) => tracing::warn!(%error, "the watch on script pods broke; it is taken up again"),
                None => return,
            },
            _ = sweep.tick() => watched.sweep(),
            () = stop.cancelled() => return,
        }
    }
}

struct Watched {
    pods: Pods,
    metrics: Arc<Metrics>,
    seen: HashMap<String, Facts>,
    /// The list that a new watch begins with, until it is complete.
    listed: HashMap<String, Facts>,
    sweeping: Option<JoinHandle<()>>,
}

impl Watched {
    fn take_in(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                let (name, facts) = self.note(&pod);
                self.listed.insert(name, facts);
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.seen, std::mem::take(&mut self.listed));
                // Nobody says of them that they went while the watch was broken. Others may be new, and not listed yet.
                for (name, facts) in before.into_iter().filter(|(name, _)| !self.seen.contains_key(name)) {
                    self.gone(&name, facts);
                }
                self.pods.listed();
                self.sweep();
            }
            Event::Apply(pod) => {
                let (name, facts) = self.note(&pod);
                self.seen.insert(name, facts);
            }
            Event::Delete(pod) => {
                let name = pod.name_any();
                self.gone(&name, Facts::of(&pod));
                self.seen.remove(&name);
            }
        }
    }

    /// Tells whoever takes care of a pod that it is there no more.
    fn gone(&self, name: &str, facts: Facts) {
        let facts = Facts {
            deleting: true,
            ..facts
        };
        self.pods.claims().note(name, &facts);
    }

    fn note(&self, pod: &Pod) -> (String, Facts) {
        let (name, facts) = (pod.name_any(), Facts::of(pod));
        self.pods.claims().note(&name, &facts);
        (name, facts)
    }

    /// Deletes leftovers beside the watch, which must not wait for it.
    fn sweep(&mut self) {
        if self.sweeping.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let leftovers: Vec<_> = self
            .pods
            .leftovers(&self.seen, Timestamp::now().as_second())
            .into_iter()
            .map(str::to_owned)
            .collect();
        if leftovers.is_empty() {
            return;
        }
        let (pods, metrics) = (self.pods.clone(), Arc::clone(&self.metrics));
        self.sweeping = Some(tokio::spawn(async move {
            for name in leftovers {
                tracing::info!(pod = name, "sweeping a leftover");
                pods.delete(&name).await;
                metrics.swept.inc();
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use futures::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::{args::Args, findings::Findings};

    fn watched() -> Watched {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let args = Args::parse_from(["manager", "--pod-name=me"]);
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = kube::Client::try_from(nowhere).unwrap();
        let metrics = Arc::new(Metrics::new(&args));
        Watched {
            pods: Pods::new(client, &args, Arc::new(Findings::default()), Arc::clone(&metrics)),
            metrics,
            seen: HashMap::new(),
            listed: HashMap::new(),
            sweeping: None,
        }
    }

    fn pod(name: &str) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": name }, "status": { "phase": "Running" } })).unwrap()
    }

    #[tokio::test]
    async fn t18_pods_that_went_while_the_watch_was_broken_are_over_and_no_others() {
        let mut watched = watched();
        let [mut gone, mut stays, mut new] = ["a", "b", "c"].map(|purpose| watched.pods.claims().claim(purpose));
        watched.take_in(Event::Init);
        watched.take_in(Event::InitApply(pod(gone.name())));
        watched.take_in(Event::InitDone);
        watched.take_in(Event::Apply(pod(stays.name())));
        // The watch begins anew with what is there; one that is being made is not yet.
        watched.take_in(Event::Init);
        watched.take_in(Event::InitApply(pod(stays.name())));
        assert!(gone.over().now_or_never().is_none(), "the list is not complete");
        watched.take_in(Event::InitDone);
        assert!(gone.over().now_or_never().is_some());
        assert!(stays.over().now_or_never().is_none() && new.over().now_or_never().is_none());
        watched.take_in(Event::Delete(pod(stays.name())));
        assert!(stays.over().now_or_never().is_some());
    }
}
