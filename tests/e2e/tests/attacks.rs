//! T17, T18: every attack of `tests/attacks` against the installed scripts manager, with canaries that must hear nothing.
//!
//! `cargo test -p rockbot-e2e --test attacks NAME` runs the attacks whose name holds NAME.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service as CoreService};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams, PostParams},
};
use libtest_mimic::{Arguments, Failed, Trial};
use reqwest::StatusCode;
use rockbot_attacks::{Attack, Place};
use rockbot_e2e::{
    Namespace,
    cluster::AGENT,
    eventually,
    fixtures::{demo_agent, python_pod, run_pod, start_pod},
    identity::{pod_of, token},
    in_namespace,
    parts::Parts,
    release::{self, SCRIPTS_MANAGER, SCRIPTS_NAMESPACE},
    service::{Caller, Service},
    wait::Seen,
};
use serde_json::{Value, json};
use tokio::{
    runtime::{Handle, Runtime},
    task::spawn_blocking,
};

const CANARY: &str = include_str!("../python/canary.py");
/// Reaches every canary, and has an answer from each.
const REACH: &str = include_str!("../python/reach_canaries.py");
/// Attacks that an ordinary pod succeeds with.
const CONTROL: [&str; 7] = [
    "network/dns-query",
    "network/tcp-node",
    "network/tcp-pod",
    "network/tcp-service",
    "network/udp-node",
    "network/udp-pod",
    "network/udp-service",
];
/// A node that was bombed takes its time.
const GONE_DEADLINE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let outcome = Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(in_namespace("attacks", async |ns| attack_from(ns, arguments).await)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn attack_from(ns: &Namespace, arguments: Arguments) -> Result<()> {
    // Only a namespace without Pod Security takes a pod that is in the node's network.
    Parts::make_open_namespace(ns).await?;
    let on_node = Namespace {
        cluster: ns.cluster.clone(),
        name: format!("{}-scripts", ns.name),
    };
    let outcome = attack(ns, &on_node, arguments).await;
    outcome.and(on_node.delete().await)
}

async fn attack(ns: &Namespace, on_node: &Namespace, mut arguments: Arguments) -> Result<()> {
    // One at a time: what the next script finds is the doing of the attack before it.
    arguments.test_threads = Some(1);
    let stage = Arc::new(Stage::set_up(ns, on_node).await?);
    let runtime = Handle::current();
    let trials = Attack::all(Place::Pod)?.into_iter().map(|attack| {
        let (stage, runtime) = (Arc::clone(&stage), runtime.clone());
        Trial::test(attack.name.clone(), move || {
            let outcome = runtime.block_on(stage.run(&attack));
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let trials = trials.collect();
    let conclusion = spawn_blocking(move || libtest_mimic::run(&arguments, trials)).await?;
    stage.nothing_is_left().await?;
    ensure!(!conclusion.has_failed(), "not every attack ended as it must");
    Ok(())
}

/// The installed scripts manager, and what its scripts must not reach.
struct Stage {
    manager: Service,
    /// The manager's pod, which must be the same in the end, and never have restarted.
    manager_pod: Pod,
    token: String,
    canaries: [Namespace; 2],
    targets: Value,
    scripts: Api<Pod>,
    /// How often the canaries were reached before the first attack.
    contacts_before: usize,
}

impl Stage {
    async fn set_up(ns: &Namespace, on_node: &Namespace) -> Result<Self> {
        ns.apply(&demo_agent("one")).await?;
        let mut stage = Self {
            contacts_before: 0,
            manager: Service::open(&ns.cluster, release::NAMESPACE, SCRIPTS_MANAGER).await?,
            manager_pod: manager_pod(ns).await?,
            targets: start_canaries(ns, on_node).await?,
            canaries: [ns.clone(), on_node.clone()],
            scripts: Api::namespaced(ns.cluster.client.clone(), SCRIPTS_NAMESPACE),
            token: {
                ns.ready(AGENT, "one").await?;
                token(ns, "agent-one", Some("rockbot-scripts-manager"), None).await?
            },
        };
        stage.succeed_without_walls(ns).await?;
        stage.contacts_before = stage.contacts().await?;
        ensure!(
            stage.contacts_before >= CONTROL.len(),
            "the canaries do not tell of everyone who reaches them"
        );
        Ok(stage)
    }

    /// The control: without walls attacks succeed, and what came of them is judged wrong.
    async fn succeed_without_walls(&self, ns: &Namespace) -> Result<()> {
        let mut attacks = Attack::all(Place::Pod)?;
        attacks.retain(|attack| CONTROL.contains(&attack.name.as_str()));
        let mut scripts = vec![REACH];
        scripts.extend(attacks.iter().map(|attack| attack.script.as_str()));
        // What was sent last shall have left the pod before its network goes.
        scripts.push("time.sleep(1)");
        let env = [("ROCKBOT_INPUT", self.targets.to_string())];
        let output = run_pod(ns, &python_pod("control", &BTreeMap::new(), &scripts.join("\n"), &env)?).await?;
        let lines: Vec<_> = output.lines().collect();
        ensure!(lines.len() == CONTROL.len(), "the control said {output}");
        for (attack, line) in attacks.iter().zip(lines) {
            let answer = json!({ "stdout": line, "exit_code": 0 });
            ensure!(
                line.starts_with("got through") && attack.judge(&answer).is_err(),
                "an ordinary pod is stopped, too: {} said {line}",
                attack.name
            );
        }
        Ok(())
    }

    /// Runs an attack, judges what came of it, waits until its pod is gone, and runs an ordinary script.
    async fn run(&self, attack: &Attack) -> Result<()> {
        for _ in 0..attack.times {
            let answer = self.script(&attack.script, attack.timeout_seconds).await?;
            attack.judge(&answer)?;
            if let Some(pod) = answer["script_id"].as_str() {
                self.is_gone(pod).await?;
            }
            let (status, text) = self.manager.get("/readyz", Caller::default()).await?;
            ensure!(
                status == StatusCode::OK,
                "the scripts manager is not ready: {status} {text}"
            );
            self.next_script_is_warm(&answer["script_id"]).await?;
        }
        Ok(())
    }

    /// A script finds a parked pod, which is another one than `used`.
    async fn next_script_is_warm(&self, used: &Value) -> Result<()> {
        eventually("a pod is parked", GONE_DEADLINE, async || {
            let (_, text) = self.manager.get("/v1/status", Caller::default()).await?;
            let status: Value = serde_json::from_str(&text)?;
            Ok(Seen::when(status["parked"].as_u64() > Some(0), || text))
        })
        .await?;
        let cold = self.cold_starts().await?;
        let answer = self.script("print(42)", 20).await?;
        ensure!(
            answer["stdout"] == "42\n" && answer["script_id"] != *used,
            "the next script: {answer}"
        );
        let waited = self.cold_starts().await?;
        ensure!(waited == cold, "the next script found no parked pod: {answer}");
        Ok(())
    }

    async fn cold_starts(&self) -> Result<u64> {
        let (_, text) = self.manager.get("/metrics", Caller::default()).await?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("rockbot_scripts_cold_starts_total "));
        value.with_context(|| text.clone())?.parse().context("not a number")
    }

    /// The answer of the scripts manager, be it an error.
    async fn script(&self, script: &str, timeout_seconds: u32) -> Result<Value> {
        let body = json!({ "script": script, "input_data": self.targets, "timeout_seconds": timeout_seconds });
        let (_, text) = self
            .manager
            .post("/v1/scripts", &body, Caller::with(&self.token))
            .await?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    async fn is_gone(&self, pod: &str) -> Result<()> {
        eventually(&format!("{pod} is gone"), GONE_DEADLINE, async || {
            let phase = self.scripts.get_opt(pod).await?.map(|pod| pod.status);
            Ok(Seen::when(phase.is_none(), || format!("{phase:?}")))
        })
        .await
    }

    /// How often the canaries were reached.
    async fn contacts(&self) -> Result<usize> {
        let mut contacts = 0;
        for ns in &self.canaries {
            let log = ns.api::<Pod>().logs("canary", &LogParams::default()).await?;
            contacts += log.lines().filter(|line| line.starts_with("reached")).count();
        }
        Ok(contacts)
    }

    /// After all attacks: no canary heard of one, the manager is the one that it was, and the next script finds what the
    /// first one found.
    async fn nothing_is_left(&self) -> Result<()> {
        let contacts = self.contacts().await? - self.contacts_before;
        ensure!(contacts == 0, "canaries were reached {contacts} times");
        let [ns, _] = &self.canaries;
        let now = manager_pod(ns).await?;
        ensure!(
            (now.uid(), restarts(&now)) == (self.manager_pod.uid(), restarts(&self.manager_pod)),
            "the scripts manager has restarted"
        );
        eventually("only parked pods are left", GONE_DEADLINE, async || {
            let (_, status) = self.manager.get("/v1/status", Caller::default()).await?;
            let status: Value = serde_json::from_str(&status)?;
            let pods = self.scripts.list(&ListParams::default()).await?.items;
            let running = pods.iter().filter(|pod| is_running(pod)).count();
            let parked = status["parked"].as_u64();
            let only = running == pods.len() && parked == u64::try_from(running).ok();
            Ok(Seen::when(only, || {
                format!("{running} of {} pods run; {status}", pods.len())
            }))
        })
        .await?;
        let begin = Instant::now();
        let answer = self.script("print(6 * 7)", 5).await?;
        println!(
            "a script after all attacks: {:.1} ms",
            begin.elapsed().as_secs_f64() * 1e3
        );
        ensure!(answer["stdout"] == "42\n", "after all attacks: {answer}");
        Ok(())
    }
}

/// A canary in the pod network, behind a Service, and on the node's address. Returns what attacks are told to reach.
async fn start_canaries(ns: &Namespace, on_node: &Namespace) -> Result<Value> {
    let labels = BTreeMap::from([("app".to_owned(), "canary".to_owned())]);
    let canary = python_pod("canary", &labels, CANARY, &[])?;
    let mut node_canary = canary.clone();
    node_canary.spec.as_mut().context("a pod without a spec")?.host_network = Some(true);
    let pod = start_pod(ns, &canary, "canary is up").await?;
    let node = start_pod(on_node, &node_canary, "canary is up").await?;
    let service = serde_json::from_value(json!({
        "metadata": { "name": "canary" },
        "spec": {
            "selector": labels,
            "ports": [
                { "name": "tcp", "port": 80, "targetPort": 7001 },
                { "name": "udp", "port": 81, "targetPort": 7002, "protocol": "UDP" },
                { "name": "dns", "port": 53, "targetPort": 7002, "protocol": "UDP" },
            ],
        },
    }))?;
    let service = ns.api::<CoreService>().create(&PostParams::default(), &service).await?;
    let service = address(service)?;
    let services: Api<CoreService> = Api::namespaced(ns.cluster.client.clone(), "default");
    let api = address(services.get("kubernetes").await?)?;
    Ok(json!({
        "tcp": { "pod": [pod, 7001], "service": [service, 80], "node": [node, 7001] },
        "udp": { "pod": [pod, 7002], "service": [service, 81], "node": [node, 7002] },
        "dns": [service, 53],
        "api": [api, 443],
    }))
}

fn address(service: CoreService) -> Result<String> {
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    address.context("a Service without an address")
}

async fn manager_pod(ns: &Namespace) -> Result<Pod> {
    let release = Namespace {
        cluster: ns.cluster.clone(),
        name: release::NAMESPACE.into(),
    };
    pod_of(&release, SCRIPTS_MANAGER).await
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).sum()
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}
