//! What an agent keeps on a volume outlives its pods and every edit, and goes with the agent.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use reqwest::StatusCode;
use rockbot_e2e::{Namespace, cluster::AGENT, eventually, in_namespace, volume::with_volume, wait::Seen};
use serde_json::{Value, json};

use crate::agents::reach;

#[tokio::test]
async fn a_volume_outlives_every_edit_and_goes_with_its_agent() -> Result<()> {
    in_namespace("storage", async |ns| {
        with_volume(ns, "agent-keeper", async || on_volume(ns).await).await
    })
    .await
}

async fn on_volume(ns: &Namespace) -> Result<()> {
    ns.apply(&keeper("100Mi")).await?;
    ns.ready(AGENT, "keeper").await?;
    let claim = claim(ns).await?;
    let (status, response) = ask(ns, &json!({ "model": "keeper", "input": "one" })).await?;
    ensure!(
        status == StatusCode::OK && response["store"] == true,
        "{status}: {response}"
    );
    let id = response["id"].as_str().context("no id")?;

    for edit in [
        json!({ "instructions": "You are terse." }),
        json!({ "storage": { "type": "Ephemeral", "volume": null } }),
        json!({ "storage": { "type": "Volume", "volume": { "size": "100Mi", "storageClassName": "" } } }),
    ] {
        let patch = Patch::Merge(json!({ "spec": edit }));
        ns.rockbot(AGENT)
            .patch("keeper", &PatchParams::default(), &patch)
            .await?;
        ns.ready(AGENT, "keeper").await?;
        ensure!(self::claim(ns).await? == claim, "the claim is another one after {edit}");
    }
    let body = json!({ "model": "keeper", "input": "two", "previous_response_id": id });
    let (status, response) = ask(ns, &body).await?;
    ensure!(status == StatusCode::OK, "{status}: {response}");

    let refused = ns.try_apply(&keeper("50Mi")).await?;
    ensure!(
        !refused.success() && refused.stderr.contains("cannot shrink"),
        "{refused:?}"
    );
    for (edit, why) in [
        (json!({ "replicas": 2 }), "replicas of at most 1"),
        (json!({ "storage": { "volume": null } }), "volume cannot be left out"),
    ] {
        let patch = Patch::Merge(json!({ "spec": edit }));
        let refused = ns.rockbot(AGENT).patch("keeper", &PatchParams::default(), &patch).await;
        let refused = refused.map(drop).map_err(|error| error.to_string());
        ensure!(
            matches!(&refused, Err(message) if message.contains(why)),
            "{edit}: {refused:?}"
        );
    }

    ns.kubectl(&["delete", "agent", "keeper"]).await?;
    eventually("the claim is gone", Duration::from_secs(60), async || {
        let left = ns.api::<PersistentVolumeClaim>().get_opt("agent-keeper").await?;
        Ok(Seen::when(left.is_none(), || format!("{left:?}")))
    })
    .await
}

fn keeper(size: &str) -> String {
    format!(
        "
apiVersion: rockbot.dev/v1alpha1
kind: Agent
metadata: {{ name: keeper }}
spec:
  model: {{ provider: Demo }}
  storage: {{ type: Volume, volume: {{ size: {size}, storageClassName: \"\" }} }}
"
    )
}

async fn claim(ns: &Namespace) -> Result<Option<String>> {
    Ok(ns.api::<PersistentVolumeClaim>().get("agent-keeper").await?.uid())
}

/// Asks the pod that there is now.
async fn ask(ns: &Namespace, body: &Value) -> Result<(StatusCode, Value)> {
    let (_forward, server) = reach(ns, "keeper").await?;
    server.post("/v1/responses", body).await
}
