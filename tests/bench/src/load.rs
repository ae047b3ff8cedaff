//! Many scripts: several at once, as many as the node can take, and so many that a lost or mixed up one would show.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::{
    StreamExt,
    future::{join_all, try_join_all},
    stream,
};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rockbot_e2e::Namespace;
use tokio::time::sleep;

use crate::{
    manager::{Manager, Outcome},
    pods,
    progress::Progress,
    report::{Rate, Report, Tally},
    stats::Samples,
};

/// Clients of the sustained load. More bring nothing: the node's CPUs are the limit from four on.
const CLIENTS: usize = 8;
/// A refused script is tried again after this.
const PAUSE: Duration = Duration::from_millis(100);
/// Scripts of a soak with one token, which is good for ten minutes.
const SCRIPTS_PER_TOKEN: usize = 200;

/// Scripts that are sent at the same moment, each with a pod parked for it.
pub(crate) async fn measure_parallel(ns: &Namespace, rounds: usize, report: &mut Report) -> Result<()> {
    for clients in [1, 2, 4, 8] {
        let manager = Manager::connect(ns).await?;
        manager.run_well().await?;
        let mut samples = Samples::default();
        let mut tally = Tally::new(&format!("scripts, {clients} at once"));
        let progress = Progress::new("rounds of scripts at once", rounds);
        for _ in 0..rounds {
            manager.at_rest().await?;
            for outcome in join_all((0..clients).map(|_| manager.run())).await {
                if let Outcome::Good(run) = &outcome {
                    samples.push(run.took);
                }
                tally.count(&outcome);
            }
            progress.step();
        }
        report.duration(&format!("warm script, {clients} at once"), samples.summary());
        report.tallies.push(tally);
    }
    Ok(())
}

/// As many bare pods as the node can take, then as many scripts.
pub(crate) async fn measure_sustained(ns: &Namespace, shape: &Pod, seconds: u64, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let api: Api<Pod> = ns.api();
    eprintln!("measuring: sustained load");
    let bare = per_second(seconds, async || {
        let (name, _) = pods::start(&api, shape).await?;
        pods::stop(&api, &name).await?;
        Ok(true)
    })
    .await?;
    manager.at_rest().await?;
    let scripts = per_second(seconds, async || match manager.run().await {
        Outcome::Good(_) => Ok(true),
        Outcome::Overloaded => {
            sleep(PAUSE).await;
            Ok(false)
        }
        Outcome::Wrong(what) => anyhow::bail!("a script went wrong: {what}"),
    })
    .await?;
    report.rates.push(Rate {
        what: format!("bare pods created, run and deleted, {CLIENTS} at a time"),
        per_second: bare,
        ratio: None,
    });
    report.rates.push(Rate {
        what: format!("scripts, {CLIENTS} clients"),
        per_second: scripts,
        ratio: Some(scripts / bare),
    });
    Ok(())
}

/// `n` scripts as fast as they go. Each is answered with its own nonces, by a pod that served no other, and of all those
/// pods and their processes none is left.
pub(crate) async fn soak(ns: &Namespace, n: usize, report: &mut Report) -> Result<()> {
    let (mut served, mut samples) = (HashSet::new(), Samples::default());
    let mut tally = Tally::new("scripts with nonces, as fast as they go");
    let progress = Progress::new("scripts with nonces", n);
    let mut left = n;
    while left > 0 {
        let manager = Manager::connect(ns).await?;
        let batch = left.min(SCRIPTS_PER_TOKEN);
        left -= batch;
        let mut outcomes = stream::iter(0..batch)
            .map(|_| patiently(&manager))
            .buffer_unordered(CLIENTS);
        while let Some(outcome) = outcomes.next().await {
            tally.count(&outcome);
            if let Outcome::Good(run) = outcome {
                samples.push(run.took);
                if !served.insert(run.pod) {
                    tally.errors += 1;
                }
            }
            progress.step();
        }
    }
    let manager = Manager::connect(ns).await?;
    manager.at_rest().await?;
    tally.left_behind = manager.pods().await?.iter().filter(|pod| served.contains(*pod)).count();
    tally.left_behind += manager.processes_left().await?;
    report.duration(
        &format!("script, {CLIENTS} clients, waiting included"),
        samples.summary(),
    );
    report.tallies.push(tally);
    Ok(())
}

/// Asks again when the manager is overloaded, which costs nobody a script.
async fn patiently(manager: &Manager) -> Outcome {
    loop {
        match manager.run().await {
            Outcome::Overloaded => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// How often `work` succeeds a second with all clients at it, once the first half as many seconds are over: by then
/// whatever was prepared beforehand is used up.
async fn per_second(seconds: u64, work: impl AsyncFn() -> Result<bool>) -> Result<f64> {
    let begin = Instant::now();
    let from = Duration::from_secs(seconds / 2);
    let until = from + Duration::from_secs(seconds);
    let count = AtomicU32::new(0);
    try_join_all((0..CLIENTS).map(async |_| {
        while begin.elapsed() < until {
            if work().await? && (from..until).contains(&begin.elapsed()) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(f64::from(count.into_inner()) / Duration::from_secs(seconds).as_secs_f64())
}
