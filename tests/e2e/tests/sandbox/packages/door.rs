//! T17: the one door in the wall around scripts, and who goes through it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use rockbot_e2e::{
    eventually,
    fixtures::{python_pod, run_pod, start_pod},
    in_namespace,
    parts::{ADMISSION, Parts},
    wait::Seen,
};
use serde_json::{Value, json};

use super::{Manager, with_packages};

const PROBE: &str = include_str!("../../../python/probe.py");
const CANARY: &str = include_str!("../../../python/canary.py");

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
