//! K3: the charts as the real helm renders them, without a cluster.

mod admission;
mod crds;
mod docs;
mod network;
mod pods;
mod rbac;
mod values;

use anyhow::Result;
use rockbot_chart_tests::{helm::Chart, manifest::Manifest, repository};
use serde_json::Value;

/// The API that ServiceMonitors belong to.
const PROMETHEUS: &str = "monitoring.coreos.com/v1";

/// The product's chart.
fn product() -> Chart {
    Chart::folder("rockbot")
}

/// Every value of the product's chart, set to something else than its default.
fn full_values() -> Result<Value> {
    let text = std::fs::read_to_string(repository("tests/chart/tests/full-values.yaml"))?;
    Ok(serde_yaml::from_str(&text)?)
}

/// The product's chart with no value set, and with all of them.
fn renderings() -> Result<[Vec<Manifest>; 2]> {
    Ok([
        product().render(&Value::Null, &[])?,
        product().render(&full_values()?, &[PROMETHEUS])?,
    ])
}
