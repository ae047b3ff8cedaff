//! T16, T17: packages for scripts without a network, from a real index inside the cluster.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{
    Namespace,
    cluster::AGENT,
    eventually,
    fixtures::{demo_agent, python_pod, run_pod, start_pod},
    identity::token,
    in_namespace,
    node::run_on_node,
    parts::{ADMISSION, MANAGER, Parts, WALL},
    release::{self, SCRIPTS_MANAGER},
    service::{Caller, Service},
    wait::Seen,
};
use serde_json::{Value, json};

const PROBE: &str = include_str!("../../python/probe.py");
const CANARY: &str = include_str!("../../python/canary.py");
/// The way of installers to the index.
const PACKAGES: &str = "scripts/packages";
const AUDIENCE: &str = "rockbot-scripts-manager";
/// The agent that the tests call as.
const AGENT_NAME: &str = "one";

/// A scripts manager of its own, and the token of an agent.
struct Manager {
    service: Service,
    token: String,
}

impl Manager {
    async fn open(parts: &Parts) -> Result<Self> {
        Ok(Self {
            service: parts.open_manager().await?,
            token: token(&parts.ns, &format!("agent-{AGENT_NAME}"), Some(AUDIENCE), None).await?,
        })
    }

    async fn answer(&self, packages: &[&str], script: &str, input: &Value) -> Result<(StatusCode, Value)> {
        let body = json!({ "script": script, "input_data": input, "pip_packages": packages });
        let (status, text) = self
            .service
            .post("/v1/scripts", &body, Caller::with(&self.token))
            .await?;
        Ok((
            status,
            serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?,
        ))
    }

    /// What a script prints that succeeds.
    async fn run(&self, packages: &[&str], script: &str) -> Result<String> {
        let (status, answer) = self.answer(packages, script, &Value::Null).await?;
        ensure!(
            status == StatusCode::OK && answer["exit_code"] == 0,
            "{packages:?}: {status} {answer}"
        );
        Ok(answer["stdout"].as_str().unwrap_or_default().to_owned())
    }

    /// Status, code and message of a refusal.
    async fn refusal(&self, packages: &[&str]) -> Result<(u16, String, String)> {
        let (status, answer) = self.answer(packages, "pass", &Value::Null).await?;
        let text = |field: &str| answer["error"][field].as_str().unwrap_or_default().to_owned();
        Ok((status.as_u16(), text("code"), text("message")))
    }
}

/// Starts an index and a scripts manager that installs from it, with more `values`.
async fn with_packages(ns: &Namespace, values: &[&str], test: impl AsyncFnOnce(Parts) -> Result<()>) -> Result<()> {
    ns.apply(&demo_agent(AGENT_NAME)).await?;
    start_index(ns).await?;
    ns.ready(AGENT, AGENT_NAME).await?;
    let index = format!("scripts.packages.index=http://index.{}.svc/simple", ns.name);
    let peer = r"scripts.packages.egress[0].to[0].namespaceSelector.matchLabels.kubernetes\.io/metadata\.name";
    let peer = format!("{peer}={}", ns.name);
    let pod = "scripts.packages.egress[0].to[0].podSelector.matchLabels.app=index";
    let port = "scripts.packages.egress[0].ports[0].port=8080";
    let values = [&["scripts.packages.enabled=true", &index, &peer, pod, port], values].concat();
    let templates = [&MANAGER[..], &[WALL, PACKAGES, ADMISSION]].concat();
    Parts::with(ns, &templates, &values, test).await
}

async fn start_index(ns: &Namespace) -> Result<()> {
    ns.apply(include_str!("index.yaml")).await?;
    ns.kubectl(&["wait", "pod/index", "--for=condition=Ready", "--timeout=60s"])
        .await
        .map(drop)
}

async fn stop_index(ns: &Namespace) -> Result<()> {
    ns.kubectl(&["delete", "pod/index", "--wait"]).await.map(drop)
}

#[tokio::test]
async fn t16_packages_are_fetched_once_and_served_from_the_cache_without_the_index() -> Result<()> {
    in_namespace("packages", async |ns| {
        with_packages(ns, &[], async |parts| {
            let manager = Manager::open(&parts).await?;
            let uses: [(&[&str], &str, &str); 4] = [
                (
                    &["idna"],
                    "import idna; print(idna.encode('ü.example').decode())",
                    "xn--tda.example\n",
                ),
                (
                    &["NumPy>=1.26"],
                    "import numpy; print(numpy.arange(10).reshape(2, 5).sum(axis=0))",
                    "[ 5  7  9 11 13]\n",
                ),
                (
                    &["python_dateutil"],
                    "import dateutil.parser, six; print(dateutil.parser.parse('3 May 2026').date(), bool(six))",
                    "2026-05-03 True\n",
                ),
                (
                    &["requests==2.32.3"],
                    "import requests; print(requests.__version__)",
                    "2.32.3\n",
                ),
            ];
            for (packages, script, expected) in uses {
                ensure!(manager.run(packages, script).await? == expected, "{packages:?}");
            }
            stop_index(ns).await?;
            for (packages, script, expected) in uses {
                ensure!(
                    manager.run(packages, script).await? == expected,
                    "{packages:?} without the index"
                );
            }
            let (status, answer) = manager.answer(&[], "import idna", &Value::Null).await?;
            let missing = answer["stderr"]
                .as_str()
                .is_some_and(|text| text.contains("No module named 'idna'"));
            ensure!(
                status == StatusCode::OK && missing,
                "a script that names no package has one: {answer}"
            );
            no_installer_is_left(&parts).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t16_every_refusal_says_what_is_wrong() -> Result<()> {
    in_namespace("refusals", async |ns| {
        let allow = "scripts.packages.allow={idna,requests,docopt,markupsafe,rockbot-test-large,no-such-package,six}";
        with_packages(ns, &[allow], async |parts| {
            let manager = Manager::open(&parts).await?;
            let cases: [(&[&str], u16, &str, &str); 8] = [
                (
                    &["no-such-package"],
                    422,
                    "packages_refused",
                    "the index has no package no-such-package",
                ),
                (
                    &["idna>=99"],
                    422,
                    "packages_refused",
                    "no version satisfies idna>=99; the index has wheels of 2.0, 3.10",
                ),
                (
                    &["docopt"],
                    422,
                    "packages_refused",
                    "docopt has no wheel, only source distributions",
                ),
                (
                    &["markupsafe"],
                    422,
                    "packages_refused",
                    "markupsafe has no wheel for Python 3.11",
                ),
                (&["rockbot-test-large"], 422, "packages_refused", "too large"),
                (
                    &["requests", "idna==2.0"],
                    422,
                    "packages_refused",
                    "the packages exclude each other",
                ),
                (
                    &["numpy"],
                    422,
                    "packages_refused",
                    "not allowed: numpy; scripts here may use docopt, idna",
                ),
                (
                    &["six @ http://10.0.0.1/"],
                    400,
                    "invalid_request",
                    "pip_packages[0]: \"six @ http://10.0.0.1/\" is a URL",
                ),
            ];
            for (packages, status, code, message) in cases {
                let refusal = manager.refusal(packages).await?;
                ensure!(
                    (refusal.0, refusal.1.as_str()) == (status, code) && refusal.2.contains(message),
                    "{packages:?}: {refusal:?}"
                );
            }
            stop_index(ns).await?;
            let away = manager.refusal(&["six"]).await?;
            ensure!(
                (away.0, away.1.as_str()) == (503, "package_index_unavailable"),
                "without an index: {away:?}"
            );
            start_index(ns).await?;
            ensure!(
                manager.run(&["six"], "import six; print('here')").await? == "here\n",
                "the index is back"
            );
            no_installer_is_left(&parts).await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t16_without_packages_a_script_is_told_what_to_set() -> Result<()> {
    in_namespace("off", async |ns| {
        ns.apply(&demo_agent(AGENT_NAME)).await?;
        ns.ready(AGENT, AGENT_NAME).await?;
        let manager = Manager {
            service: Service::open(&ns.cluster, release::NAMESPACE, SCRIPTS_MANAGER).await?,
            token: token(ns, &format!("agent-{AGENT_NAME}"), Some(AUDIENCE), None).await?,
        };
        let refusal = manager.refusal(&["idna"]).await?;
        ensure!(
            (refusal.0, refusal.1.as_str()) == (422, "packages_refused"),
            "{refusal:?}"
        );
        ensure!(refusal.2.contains("scripts.packages.enabled=true"), "{refusal:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t16_the_cache_survives_a_restart_on_a_volume() -> Result<()> {
    in_namespace("volume", async |ns| {
        let directory = format!("/tmp/{}", ns.name);
        let settings = &ns.cluster.settings;
        // Whom the directory of a node belongs to is nothing that a pod's fsGroup changes.
        run_on_node(settings, &["mkdir", "--mode=0777", &directory]).await?;
        let outcome = restart_on_volume(ns, &directory).await;
        ns.cluster
            .run_kubectl(&[
                "delete",
                "persistentvolume",
                &ns.name,
                "--ignore-not-found",
                "--wait=false",
            ])
            .await?;
        run_on_node(settings, &["rm", "-rf", &directory]).await?;
        outcome
    })
    .await
}

async fn restart_on_volume(ns: &Namespace, directory: &str) -> Result<()> {
    let volume = format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: {name}, labels: {{ rockbot.dev/e2e: \"true\" }} }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {{ namespace: {name}, name: packages }}
  hostPath: {{ path: {directory} }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: packages }}
spec:
  storageClassName: \"\"
  volumeName: {name}
  accessModes: [ReadWriteOnce]
  resources: {{ requests: {{ storage: 1Gi }} }}
",
        name = ns.name
    );
    // A volume is in no namespace, and its claim is in this one.
    let (persistent, claim) = volume.split_once("---").context("two documents")?;
    ns.cluster.try_kubectl(&["apply", "--filename=-"], persistent).await?;
    ns.apply(claim).await?;
    with_packages(ns, &["scripts.packages.cache.claim=packages"], async |parts| {
        let script = "import six; print(six.__version__)";
        let first = Manager::open(&parts).await?.run(&["six"], script).await?;
        stop_index(ns).await?;
        ns.kubectl(&["rollout", "restart", &format!("deployment/{}", parts.manager())])
            .await?;
        ns.kubectl(&[
            "rollout",
            "status",
            &format!("deployment/{}", parts.manager()),
            "--timeout=90s",
        ])
        .await?;
        let second = Manager::open(&parts).await?.run(&["six"], script).await?;
        ensure!(first == "1.17.0\n" && second == first, "{first:?}, then {second:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t17_an_installer_reaches_the_index_alone_and_a_script_with_packages_nothing() -> Result<()> {
    in_namespace("door", async |ns| {
        let canary = start_pod(
            ns,
            &python_pod("canary", &BTreeMap::new(), CANARY, &[])?,
            "canary is up",
        )
        .await?;
        with_packages(ns, &[], async |parts| {
            let manager = Manager::open(&parts).await?;
            let targets = json!({ "canary": canary, "dns": canary, "name": "index" });
            let (_, answer) = manager.answer(&["idna"], PROBE, &targets).await?;
            let seen: Value = serde_json::from_str(answer["stdout"].as_str().unwrap_or_default())
                .with_context(|| format!("the probe did not run: {answer}"))?;
            for way in ["tcp", "udp", "dns"] {
                let refused = seen[way]
                    .as_str()
                    .is_some_and(|text| text.starts_with("PermissionError"));
                ensure!(refused, "a script with packages: {way}: {seen}");
            }
            // An ordinary process where an installer would be: admission would refuse it, so it is away for that.
            parts.delete(&[ADMISSION]).await?;
            let probe = "
import os, socket
for name in ('canary', 'index'):
    host, port = os.environ[name].rsplit(':', 1)
    try:
        socket.create_connection((host, int(port)), 3).close()
        print(name, 'open')
    except OSError as error:
        print(name, type(error).__name__)
";
            let index = format!("index.{}.svc:80", ns.name);
            let env = [("canary", format!("{canary}:7001")), ("index", index)];
            let pod = python_pod("installer", &labels_of_an_installer(), probe, &env)?;
            is_let_in(&parts, &pod).await?;
            let seen = run_pod(&parts.scripts, &pod).await?;
            ensure!(
                seen == "canary TimeoutError\nindex open\n",
                "where an installer is: {seen}"
            );
            Ok(())
        })
        .await
    })
    .await
}

/// Waits until a pod may be made: the API server goes by a policy for a moment after that is gone.
async fn is_let_in(parts: &Parts, pod: &Pod) -> Result<()> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pods: Api<Pod> = parts.scripts.api();
    eventually("another pod is let in", Duration::from_secs(30), async || {
        let made = pods.create(&dry_run, pod).await;
        Ok(Seen::when(made.is_ok(), || format!("{:?}", made.as_ref().err())))
    })
    .await
}

fn labels_of_an_installer() -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/component", "package-installer"),
        ("app.kubernetes.io/managed-by", "rockbot-scripts-manager"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Every pod that installed something is deleted soon after it.
async fn no_installer_is_left(parts: &Parts) -> Result<()> {
    let pods: Api<Pod> = parts.scripts.api();
    let installers = ListParams::default().labels("app.kubernetes.io/component=package-installer");
    eventually("no installer is left", Duration::from_secs(30), async || {
        let left: Vec<_> = pods
            .list(&installers)
            .await?
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
    })
    .await
}
