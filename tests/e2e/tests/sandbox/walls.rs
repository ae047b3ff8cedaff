//! T17: what a scripts manager makes of a wall that is missing, and `rockbot script doctor` of the manager. The scripts are
//! harmless, and in pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use reqwest::StatusCode;
use rockbot_e2e::{
    Cluster, eventually,
    manager::on_stage,
    process,
    release::{self, SCRIPTS_MANAGER},
    service::Service,
    wait::Seen,
};
use serde_json::{Value, json};

const WALLS_OF_A_POD: [&str; 8] = [
    "network_policy",
    "admission_policy",
    "seccomp",
    "files",
    "no_new_privs",
    "non_dumpable",
    "capabilities",
    "rlimits",
];
const MISSING: &str = r#"rockbot_scripts_missing_walls{wall="seccomp"}"#;

#[tokio::test]
async fn t17_baseline_goes_without_a_wall_and_says_so() -> Result<()> {
    on_stage("baseline", async |stage| {
        let without = ["--pool-min=1", "--seccomp=off", "--walls=baseline"];
        let manager = stage.manager(&without).await?;
        manager.prints("print(6 * 7)", "42\n").await?;
        let walls = manager.status().await?["walls"].take();
        ensure!(
            walls["mode"] == "baseline" && walls["missing"] == json!(["seccomp"]),
            "{walls}"
        );
        let (findings, strict) = doctor(&stage.ns.cluster, manager.url()).await?;
        let seccomp = finding(&findings, "seccomp")?;
        ensure!(
            !strict && seccomp["holds"] == false && seccomp["remedy"].is_string(),
            "{findings}"
        );
        ensure!(
            manager.metric(MISSING).await? == 1.0,
            "the metric does not name the wall"
        );

        let whole = stage.manager(&["--pool-min=1", "--walls=baseline"]).await?;
        whole.prints("print(6 * 7)", "42\n").await?;
        let walls = whole.status().await?["walls"].take();
        ensure!(walls["missing"] == json!([]), "{walls}");
        ensure!(
            whole.metric(MISSING).await? == 0.0,
            "a wall that holds counts as missing"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t17_strict_refuses_to_run_scripts_without_a_wall() -> Result<()> {
    on_stage("strict", async |stage| {
        let manager = stage.manager(&["--pool-min=1", "--seccomp=off"]).await?;
        let (status, body) = manager.run("print(6 * 7)", 20).await?;
        let error = &body["error"];
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(
            status == StatusCode::SERVICE_UNAVAILABLE && error["code"] == "sandbox_unavailable",
            "{status}: {body}"
        );
        ensure!(
            message.contains("refuses to run scripts: seccomp:"),
            "the wall is not named: {message}"
        );
        ensure!(manager.status().await?["parked"] == 0, "a pod without a wall is parked");
        eventually("an Event names the wall", Duration::from_secs(20), async || {
            let events = stage.ns.api::<Event>().list(&ListParams::default()).await?.items;
            let ours = events
                .iter()
                .find(|event| event.reason.as_deref() == Some("SandboxRefused"));
            let note = ours.and_then(|event| event.note.as_deref()).unwrap_or_default();
            Ok(Seen::when(note.contains("seccomp"), || format!("{events:?}")))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn t17_the_doctor_finds_every_wall_of_the_installed_cluster() -> Result<()> {
    let cluster = Cluster::connect().await?;
    release::require(&cluster).await?;
    let manager = Service::open(&cluster, release::NAMESPACE, SCRIPTS_MANAGER).await?;
    let findings = eventually("every wall holds", Duration::from_secs(60), async || {
        let (findings, strict) = doctor(&cluster, manager.url()).await?;
        Ok(if strict {
            Seen::Done(findings)
        } else {
            Seen::NotYet(findings.to_string())
        })
    })
    .await?;
    for name in WALLS_OF_A_POD {
        let wall = finding(&findings, name)?;
        let stops = wall["stops"].as_str().unwrap_or_default();
        ensure!(wall["holds"] == true && !stops.is_empty(), "{wall}");
    }
    let count = findings["walls"].as_array().map_or(0, Vec::len);
    ensure!(count == WALLS_OF_A_POD.len(), "{findings}");
    Ok(())
}

/// What `rockbot script doctor` finds, and whether it is content.
async fn doctor(cluster: &Cluster, url: &str) -> Result<(Value, bool)> {
    let mut command = process::command(&cluster.settings.binary("rockbot")?);
    command.args(["script", "doctor", "--output", "json", "--url", url]);
    let output = process::run(command, "", Duration::from_secs(20)).await?;
    let findings = serde_json::from_str(&output.stdout).with_context(|| output.stderr.clone())?;
    Ok((findings, output.success()))
}

fn finding<'a>(findings: &'a Value, name: &str) -> Result<&'a Value> {
    let mut walls = findings["walls"].as_array().into_iter().flatten();
    let found = walls.find(|wall| wall["name"] == name);
    found.with_context(|| format!("no {name} in {findings}"))
}
