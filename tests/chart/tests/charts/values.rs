//! Values: documented, in the schema, effective; and wrong ones refused by name.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use rockbot_chart_tests::{
    repository, schema, update,
    values::{Entry, entries, table},
};
use serde_json::{Value, json};

use crate::{PROMETHEUS, full_values, product};

const README: &str = "helm/rockbot/README.md";
const BEGIN: &str = "<!-- values: written by the tests from values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";

#[test]
fn k3_the_readme_has_the_values_of_the_chart() -> Result<()> {
    let path = repository(README);
    let readme = fs::read_to_string(&path)?;
    let (before, rest) = readme.split_once(BEGIN).context("README.md has no begin of values")?;
    let (_, after) = rest.split_once(END).context("README.md has no end of values")?;
    let expected = [before, BEGIN, "\n", &table(&documented()?), "\n", END, after].concat();
    if update() {
        fs::write(&path, &expected)?;
    } else {
        assert!(
            readme == expected,
            "{README} differs from values.yaml; UPDATE=1 writes it again"
        );
    }
    Ok(())
}

#[test]
fn k3_values_and_schema_have_the_same_keys() -> Result<()> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(repository("helm/rockbot/values.schema.json"))?)?;
    assert_eq!(
        schema::open_objects(&schema),
        Vec::<String>::new(),
        "objects without additionalProperties"
    );
    let documented: BTreeSet<_> = documented()?.into_iter().map(|entry| entry.path).collect();
    // What a documented value holds belongs to it; helm itself adds `global` where the chart is another one's part.
    let inside = |path: &String| documented.iter().any(|entry| path.starts_with(&format!("{entry}.")));
    let section = |path: &String| documented.iter().any(|entry| entry.starts_with(&format!("{path}.")));
    let allowed: BTreeSet<_> = schema::paths(&schema)?
        .into_iter()
        .filter(|path| path != "global" && !inside(path) && !section(path))
        .collect();
    assert_eq!(allowed, documented);
    Ok(())
}

#[test]
fn k3_every_value_does_something() -> Result<()> {
    let full = full_values()?;
    let with_none = product().render(&Value::Null, &[PROMETHEUS])?;
    let with_all = product().render(&full, &[PROMETHEUS])?;
    for Entry { path, default, .. } in documented()? {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = full
            .pointer(&pointer)
            .with_context(|| format!("full-values.yaml does not set {path}"))?;
        ensure!(*value != default, "full-values.yaml sets {path} to its default");
        let alone = nest(&path, value.clone());
        let mut without = full.clone();
        *without.pointer_mut(&pointer).context("no value")? = default;
        let effective = product()
            .render(&alone, &[PROMETHEUS])
            .is_ok_and(|rendered| rendered != with_none)
            || product()
                .render(&without, &[PROMETHEUS])
                .is_ok_and(|rendered| rendered != with_all);
        ensure!(effective, "{path} changes nothing");
    }
    Ok(())
}

#[test]
fn k3_wrong_values_are_refused_by_name() -> Result<()> {
    for (path, value, message) in [
        ("operatorr", json!({}), "operatorr"),
        ("operator.replica", json!(2), "replica"),
        ("operator.replicas", json!("two"), "/operator/replicas"),
        ("operator.replicas", json!(0), "/operator/replicas"),
        (
            "operator.image.pullPolicy",
            json!("Sometimes"),
            "/operator/image/pullPolicy",
        ),
        ("operator.image.digest", json!("sha256:short"), "/operator/image/digest"),
        ("operator.resources", json!({ "limit": {} }), "limit"),
        ("agent.image.repository", json!(""), "/agent/image/repository"),
        ("scriptsManager.pool.min", json!(-1), "/scriptsManager/pool/min"),
        ("scriptsManager.pool.max", json!(2), "scriptsManager.pool.max"),
        (
            "scriptsManager.pool.maxAgeSeconds",
            json!(1201),
            "/scriptsManager/pool/maxAgeSeconds",
        ),
        ("scriptsManager.queueSize", json!("many"), "/scriptsManager/queueSize"),
        ("scripts.namespace", json!("Not A Name"), "/scripts/namespace"),
        ("scripts.namespace", json!("kube-system"), "/scripts/namespace"),
        ("scripts.namespace", json!("rockbot-system"), "scripts.namespace"),
        (
            "scripts.packages.index",
            json!("https://user:secret@index.example/simple"),
            "/scripts/packages/index",
        ),
        (
            "scripts.packages.allow",
            json!(["numpy; rm"]),
            "/scripts/packages/allow/0",
        ),
        ("scripts.maxPods", json!(25), "scripts.maxPods"),
        ("scripts.walls", json!("off"), "/scripts/walls"),
        ("scripts.hostUsers", json!("no"), "/scripts/hostUsers"),
        (
            "networkPolicy.dnsCIDRs",
            json!(["10.0.0.10"]),
            "/networkPolicy/dnsCIDRs/0",
        ),
        (
            "networkPolicy.apiServerPorts",
            json!([]),
            "/networkPolicy/apiServerPorts",
        ),
        (
            "networkPolicy.apiServerPorts",
            json!([70000]),
            "/networkPolicy/apiServerPorts/0",
        ),
        ("metrics.from", json!([{}]), "/metrics/from/0"),
        ("metrics.serviceMonitor.enabled", json!(true), "metrics.from"),
        ("logFormat", json!("xml"), "/logFormat"),
    ] {
        is_refused(path, &value, message)?;
    }
    Ok(())
}

#[test]
fn k3_other_names_and_amounts_are_refused_by_name() -> Result<()> {
    for (path, value, message) in [
        (
            "scripts.resources.limits",
            json!({ "cpu": null }),
            "/scripts/resources/limits",
        ),
        (
            "scripts.resources.limits.memory",
            json!("a lot"),
            "/scripts/resources/limits/memory",
        ),
        (
            "scripts.resources.limits.memory",
            json!("64ki"),
            "/scripts/resources/limits/memory",
        ),
        (
            "scripts.resources.limits.memory",
            json!(1_234_567.5),
            "/scripts/resources/limits/memory",
        ),
        (
            "scripts.resources.requests.cpu",
            json!(0),
            "/scripts/resources/requests/cpu",
        ),
        (
            "scripts.resources.requests.cpu",
            json!(0.000_01),
            "/scripts/resources/requests/cpu",
        ),
        (
            "scripts.runtimeClassName",
            json!("gvisor..v1"),
            "/scripts/runtimeClassName",
        ),
        (
            "scripts.packages.cache.claim",
            json!("x".repeat(254)),
            "/scripts/packages/cache/claim",
        ),
    ] {
        is_refused(path, &value, message)?;
    }
    Ok(())
}

#[test]
fn k3_names_and_amounts_are_those_that_kubernetes_takes() -> Result<()> {
    let long = [63, 63, 63, 61].map(|length| "x".repeat(length)).join(".");
    for name in ["gvisor.v1", "1.5", "true", &long] {
        let packages = json!({ "enabled": true, "cache": { "claim": name } });
        let telemetry = json!({ "otlp": { "endpoint": "http://10.0.0.1", "headersSecret": { "name": name } } });
        let values = json!({ "telemetry": telemetry, "scripts": { "runtimeClassName": name, "packages": packages } });
        for manifest in product().render(&values, &[])? {
            manifest.check()?;
        }
    }
    for amount in [json!("64Ki"), json!("64k"), json!("1.5Gi"), json!(1), json!(1e9)] {
        product().render(&nest("scripts.resources.limits.memory", amount), &[])?;
    }
    Ok(())
}

#[test]
fn s13_a_receiver_of_traces_is_a_url_that_means_the_same_everywhere() -> Result<()> {
    for (field, value) in [
        ("endpoint", "http://collector:4318"),
        ("endpoint", "collector.monitoring.svc:4318"),
        ("endpoint", "https://me:secret@otlp.example.com"),
        ("tracesSampler", "sometimes"),
        ("tracesSamplerArg", "10"),
    ] {
        is_refused(
            &format!("telemetry.otlp.{field}"),
            &json!(value),
            &format!("/telemetry/otlp/{field}"),
        )?;
    }
    Ok(())
}

fn is_refused(path: &str, value: &Value, message: &str) -> Result<()> {
    let outcome = product().render(&nest(path, value.clone()), &[PROMETHEUS]);
    let error = outcome
        .err()
        .with_context(|| format!("{path}: {value} was accepted"))?
        .to_string();
    ensure!(
        error.contains(message),
        "{path}: {value} was refused without {message:?}: {error}"
    );
    Ok(())
}

#[test]
fn k3_the_quota_has_room_for_every_pod_that_the_managers_may_have() -> Result<()> {
    let refused = |packages: bool, max_pods: u32| {
        let scripts = json!({ "maxPods": max_pods, "packages": { "enabled": packages } });
        let manager = json!({ "replicas": 2, "pool": { "min": 1, "max": 4 }, "maxConcurrent": 6 });
        let values = json!({ "scripts": scripts, "scriptsManager": manager });
        product()
            .render(&values, &[])
            .is_err_and(|error| error.to_string().contains("scripts.maxPods"))
    };
    // Parked and running ones, and two that install packages.
    assert_eq!([refused(false, 19), refused(false, 20)], [true, false]);
    assert_eq!([refused(true, 23), refused(true, 24)], [true, false]);
    Ok(())
}

#[test]
fn k3_service_monitors_need_their_api() -> Result<()> {
    let values = json!({ "metrics": { "from": [{ "namespaceSelector": {} }], "serviceMonitor": { "enabled": true } } });
    let error = product().render(&values, &[]).err().context("accepted")?.to_string();
    ensure!(
        error.contains("metrics.serviceMonitor.enabled") && error.contains("Prometheus operator"),
        "{error}"
    );
    let monitors = product().render(&values, &[PROMETHEUS])?;
    ensure!(
        monitors
            .iter()
            .filter(|manifest| manifest.kind == "ServiceMonitor")
            .count()
            == 2,
        "not two monitors"
    );
    Ok(())
}

fn documented() -> Result<Vec<Entry>> {
    entries(&fs::read_to_string(repository("helm/rockbot/values.yaml"))?)
}

/// `value` at `path` in otherwise empty values.
fn nest(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, key| json!({ key: value }))
}
