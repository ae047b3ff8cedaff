//! `/metrics`.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use rockbot_scripts_api::{ScriptError, ScriptErrorCode};

use crate::{
    args::{Args, Switch},
    desk::Counts,
    findings::Known,
    pool::Pool,
};

/// From a tenth of a warm run to the longest script, in seconds.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0,
];

/// How a request for a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Succeeded,
    /// Another exit code.
    Failed,
    /// Its time was over.
    TimedOut,
    /// Its client went away.
    Cancelled,
    /// Its sandbox was lost.
    Lost,
    /// No sandbox came in time.
    Unavailable,
    /// The queue was full.
    Overloaded,
    /// Its packages cannot be had.
    Refused,
}

impl Outcome {
    /// As a label, and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Refused => "refused",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    outcome: &'static str,
}

/// How an installation of packages ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstallResult {
    /// There is a layer.
    Succeeded,
    /// Nobody can have these packages.
    Refused,
    /// The index did not answer.
    IndexUnavailable,
    /// There was no installer, or it was lost.
    Failed,
}

impl InstallResult {
    /// How an installer's answer counts.
    pub(crate) fn of<T>(answer: &Result<T, ScriptError>) -> Self {
        match answer.as_ref().map_err(|error| error.code) {
            Ok(_) => Self::Succeeded,
            Err(ScriptErrorCode::PackagesRefused) => Self::Refused,
            Err(ScriptErrorCode::PackageIndexUnavailable) => Self::IndexUnavailable,
            Err(_) => Self::Failed,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::IndexUnavailable => "index_unavailable",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstallLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// Whose sandboxes: those with nothing in them, or with packages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WallLabels {
    wall: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CanaryLabels {
    result: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    runs: Family<RunLabels, Counter>,
    queue: Histogram,
    run: Histogram,
    start: Histogram,
    installs: Family<InstallLabels, Counter>,
    install: Histogram,
    sandboxes: Family<StateLabels, Gauge<i64>>,
    targets: Family<PoolLabels, Gauge<i64>>,
    refill: Gauge<f64, AtomicU64>,
    missing_walls: Family<WallLabels, Gauge<i64>>,
    canaries: Family<CanaryLabels, Counter>,
    /// Requests that got what an earlier one got.
    pub replays: Counter,
    /// Scripts for which no sandbox was parked.
    pub cold_starts: Counter,
    /// Pods that did not become ready.
    pub start_failures: Counter,
    /// Pods that were deleted because nobody else would.
    pub swept: Counter<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new(args: &Args) -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("rockbot_scripts"),
            runs: Family::default(),
            queue: Histogram::new(SECONDS),
            run: Histogram::new(SECONDS),
            start: Histogram::new(SECONDS),
            installs: Family::default(),
            install: Histogram::new(SECONDS),
            sandboxes: Family::default(),
            targets: Family::default(),
            refill: Gauge::default(),
            missing_walls: Family::default(),
            canaries: Family::default(),
            replays: Counter::default(),
            cold_starts: Counter::default(),
            start_failures: Counter::default(),
            swept: Counter::default(),
        };
        metrics.registered(args)
    }

    fn registered(mut self, args: &Args) -> Self {
        let seccomp = Gauge::<i64>::default();
        seccomp.set(i64::from(args.seccomp == Switch::On));
        let registry = &mut self.registry;
        registry.register("runs", "Scripts by how they ended", self.runs.clone());
        registry.register("queue_seconds", "From the request to a sandbox", self.queue.clone());
        registry.register("run_seconds", "From the sandbox to the result", self.run.clone());
        registry.register(
            "sandbox_start_seconds",
            "From a pod's creation to its being parked",
            self.start.clone(),
        );
        registry.register(
            "installs",
            "Installations of packages by how they ended",
            self.installs.clone(),
        );
        registry.register(
            "install_seconds",
            "From the wish for packages that are not in the cache to their being there",
            self.install.clone(),
        );
        registry.register(
            "sandboxes",
            "Sandboxes and waiting scripts by state",
            self.sandboxes.clone(),
        );
        registry.register("pool_target", "Parked sandboxes to have", self.targets.clone());
        registry.register(
            "refill_seconds",
            "How long it takes to replace a used sandbox, lately",
            self.refill.clone(),
        );
        registry.register(
            "missing_walls",
            "1 for each wall that the latest pod goes without",
            self.missing_walls.clone(),
        );
        registry.register(
            "canaries",
            "Pods by what became of their attempt to reach the network",
            self.canaries.clone(),
        );
        registry.register(
            "idempotent_replays",
            "Requests that got what an earlier one with the same key got",
            self.replays.clone(),
        );
        registry.register(
            "cold_starts",
            "Scripts for which no sandbox was parked",
            self.cold_starts.clone(),
        );
        registry.register(
            "sandbox_start_failures",
            "Pods that did not become ready",
            self.start_failures.clone(),
        );
        registry.register(
            "pods_swept",
            "Pods deleted because nobody else would",
            self.swept.clone(),
        );
        registry.register(
            "seccomp_filter",
            "1 when scripts run behind the seccomp filter",
            seccomp,
        );
        self
    }

    pub(crate) fn ran(&self, outcome: Outcome, queue: Duration, run: Duration) {
        self.count(outcome);
        self.queue.observe(queue.as_secs_f64());
        self.run.observe(run.as_secs_f64());
    }

    /// A script ended, or will not be run.
    pub(crate) fn count(&self, outcome: Outcome) {
        let outcome = outcome.as_str();
        self.runs.get_or_create(&RunLabels { outcome }).inc();
    }

    pub(crate) fn started(&self, duration: Duration) {
        self.start.observe(duration.as_secs_f64());
    }

    /// Packages were installed, or could not be.
    pub(crate) fn installed(&self, result: InstallResult, took: Duration) {
        let result = result.as_str();
        self.installs.get_or_create(&InstallLabels { result }).inc();
        self.install.observe(took.as_secs_f64());
    }

    /// The text of `/metrics`.
    pub(crate) fn text(&self, pool: &Pool, known: &Known) -> Result<String, std::fmt::Error> {
        self.set_counts(pool.counts());
        let (mut plain, mut packages) = (0, 0);
        for (key, stock) in pool.stocks() {
            *key.packages.map_or(&mut plain, |_| &mut packages) += stock.target;
        }
        for (pool, target) in [("plain", plain), ("packages", packages)] {
            self.targets.get_or_create(&PoolLabels { pool }).set(gauge(target));
        }
        self.refill.set(pool.refill_time().as_secs_f64());
        self.missing_walls.clear();
        for wall in &known.walls.missing {
            self.missing_walls
                .get_or_create(&WallLabels { wall: wall.clone() })
                .set(1);
        }
        let canary = known.canary;
        for (result, count) in [
            ("blocked", canary.blocked),
            ("reached", canary.reached),
            ("unknown", canary.unknown),
        ] {
            let canaries = self.canaries.get_or_create(&CanaryLabels { result });
            canaries.inc_by(count.saturating_sub(canaries.get()));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn set_counts(&self, counts: Counts) {
        let Counts {
            parked,
            starting,
            running,
            waiting,
        } = counts;
        for (state, count) in [
            ("parked", parked),
            ("starting", starting),
            ("running", running),
            ("waiting", waiting),
        ] {
            self.sandboxes.get_or_create(&StateLabels { state }).set(gauge(count));
        }
    }
}

fn gauge(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
