//! Scripts: warm, cold, and as many as the node can take, each beside what the node does without RockBot.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use reqwest::{Client, StatusCode};
use rockbot_e2e::{
    Namespace,
    identity::token,
    process,
    release::{self, SCRIPTS_MANAGER},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    pods,
    report::{Rate, Report},
    stats::Samples,
};

/// Clients of the sustained load. More bring nothing: the node's CPUs are the limit from four on.
const CLIENTS: usize = 8;

/// The scripts manager, called by the benchmark's agent.
struct Manager {
    http: Client,
    url: String,
    token: String,
}

impl Manager {
    async fn connect(ns: &Namespace) -> Result<Self> {
        let services: Api<Service> = Api::namespaced(ns.cluster.client.clone(), release::NAMESPACE);
        let address = services
            .get(SCRIPTS_MANAGER)
            .await?
            .spec
            .and_then(|spec| spec.cluster_ip);
        let url = format!(
            "http://{}:8080/v1/scripts",
            address.context("the scripts manager has no address")?
        );
        let token = token(ns, "agent-bench", Some("rockbot-scripts-manager"), None).await?;
        let http = Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .timeout(Duration::from_secs(90))
            .build()?;
        Ok(Self { http, url, token })
    }

    /// Runs a script; false when the manager is overloaded.
    async fn run(&self) -> Result<bool> {
        let request = self
            .http
            .post(&self.url)
            .bearer_auth(&self.token)
            .json(&json!({ "script": "print(6*7)" }));
        let response = request.send().await?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(false);
        }
        let result: Value = response.json().await?;
        ensure!(
            status == StatusCode::OK && result["stdout"] == "42\n",
            "{status}: {result}"
        );
        Ok(true)
    }
}

/// Scripts one a second, each after a local `python3 -c pass`.
pub(crate) async fn measure_warm(ns: &Namespace, n: usize, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let (python, version) = local_python().await?;
    let (mut warm, mut local) = (Samples::default(), Samples::default());
    // The pool fills, and connections are made.
    sleep(Duration::from_secs(10)).await;
    ensure!(
        manager.run().await?,
        "the scripts manager is overloaded before the start"
    );
    for _ in 0..n {
        sleep(Duration::from_secs(1)).await;
        local.push(start_python(&python).await?);
        let begin = Instant::now();
        ensure!(
            manager.run().await?,
            "the scripts manager is overloaded by one script a second"
        );
        warm.push(begin.elapsed());
    }
    let baseline = format!("{} {version} -c pass on the node", python.display());
    report.duration(&baseline, local.summary());
    report.ratio(
        "warm script, request to answer, one a second",
        warm.summary(),
        (&baseline, local.summary()),
    );
    Ok(())
}

/// Scripts without a pool, one after the other; bare pods of the same shape between them.
pub(crate) async fn measure_cold(ns: &Namespace, shape: &Pod, n: usize, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let api: Api<Pod> = ns.api();
    let (mut cold, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..n {
        let (name, duration) = pods::start(&api, shape).await?;
        bare.push(duration);
        pods::stop(&api, &name).await?;
        let begin = Instant::now();
        ensure!(
            manager.run().await?,
            "the scripts manager is overloaded by one script at a time"
        );
        cold.push(begin.elapsed());
        sleep(Duration::from_secs(3)).await;
    }
    let baseline = "bare pod of the same shape, create to Running";
    report.duration(baseline, bare.summary());
    report.ratio(
        "cold script (no pool), request to answer",
        cold.summary(),
        (baseline, bare.summary()),
    );
    Ok(())
}

/// As many scripts as the node can take, then as many bare pods.
pub(crate) async fn measure_sustained(ns: &Namespace, shape: &Pod, seconds: u64, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let api: Api<Pod> = ns.api();
    let bare = per_second(seconds, async || {
        let (name, _) = pods::start(&api, shape).await?;
        pods::stop(&api, &name).await?;
        Ok(true)
    })
    .await?;
    sleep(Duration::from_secs(5)).await;
    let scripts = per_second(seconds, async || {
        let served = manager.run().await?;
        if !served {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(served)
    })
    .await?;
    let what = format!("bare pods created, run and deleted, {CLIENTS} at a time");
    report.rates.push(Rate {
        what,
        per_second: bare,
        ratio: None,
    });
    let what = format!("scripts, {CLIENTS} clients");
    report.rates.push(Rate {
        what,
        per_second: scripts,
        ratio: Some(scripts / bare),
    });
    Ok(())
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

/// The distribution's interpreter, as the image of scripts has it, and its version. Others that PATH may name first are
/// launchers, or builds that start more slowly: against those any sandbox looks fast.
async fn local_python() -> Result<(PathBuf, String)> {
    let distribution = PathBuf::from("/usr/bin/python3");
    let python = if distribution.exists() {
        distribution
    } else {
        PathBuf::from("python3")
    };
    let mut command = process::command(&python);
    command.args(["-c", "import platform; print(platform.python_version())"]);
    let version = process::check(command, "", Duration::from_secs(20)).await?;
    Ok((python, version.trim().to_owned()))
}

async fn start_python(python: &Path) -> Result<Duration> {
    let mut command = process::command(python);
    command.args(["-c", "pass"]).stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    ensure!(command.status().await?.success(), "python3 -c pass failed");
    Ok(begin.elapsed())
}
