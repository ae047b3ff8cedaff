//! The chart of the custom resources: the generated definitions, all of them, kept when the release goes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use rockbot_chart_tests::{helm::Chart, manifest::Manifest, repository};
use serde_json::{Value, json};

#[test]
fn k3_the_crd_chart_is_the_generated_definitions_kept_on_uninstall() -> Result<()> {
    let chart = Chart::folder("rockbot-crds");
    chart.lint(&Value::Null)?;
    let (archive, copy) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for chart in [&chart, &chart.package(archive.path())?, &chart.copy(copy.path())?] {
        assert_eq!(definitions(&chart.render(&Value::Null, &[])?)?, kept_definitions()?);
    }
    Ok(())
}

#[test]
fn k3_the_crd_chart_without_its_definitions_says_so() -> Result<()> {
    let copy = tempfile::tempdir()?;
    let chart = Chart::folder("rockbot-crds").copy(copy.path())?;
    fs::remove_dir_all(copy.path().join("generated"))?;
    let error = chart.render(&Value::Null, &[]).err().context("rendered")?.to_string();
    assert!(error.contains("no definitions"), "{error}");
    Ok(())
}

#[test]
fn k3_the_crd_chart_has_no_values() {
    let error = Chart::folder("rockbot-crds")
        .render(&json!({ "installCRDs": true }), &[])
        .unwrap_err();
    assert!(error.to_string().contains("installCRDs"), "{error}");
}

/// `crds/generated/*.yaml` by name, each with the annotation that helm leaves it alone for.
fn kept_definitions() -> Result<BTreeMap<String, CustomResourceDefinition>> {
    let mut manifests = Vec::new();
    for file in fs::read_dir(repository("crds/generated"))? {
        manifests.extend(Manifest::parse_all(&fs::read_to_string(file?.path())?)?);
    }
    for manifest in &mut manifests {
        manifest.object["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    }
    assert!(manifests.len() > 1, "crds/generated is empty");
    definitions(&manifests)
}

fn definitions(manifests: &[Manifest]) -> Result<BTreeMap<String, CustomResourceDefinition>> {
    manifests
        .iter()
        .map(|manifest| Ok((manifest.name.clone(), manifest.read()?)))
        .collect()
}
