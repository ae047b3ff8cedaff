//! T16: what a script gets that names packages, and what its caller is told when there are none.

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use rockbot_e2e::{
    cluster::AGENT,
    fixtures::demo_agent,
    identity::token,
    in_namespace,
    release::{self, SCRIPTS_MANAGER},
    service::Service,
};
use serde_json::Value;

use super::{AGENT_NAME, AUDIENCE, Manager, no_installer_is_left, start_index, stop_index, with_packages};

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
            // NumPy, idna, dateutil and requests, each once; six came with dateutil.
            let installs = manager
                .metric(r#"rockbot_scripts_installs_total{result="succeeded"}"#)
                .await?;
            ensure!(installs == 4.0, "{installs} installations");
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
            let refused = manager
                .metric(r#"rockbot_scripts_installs_total{result="refused"}"#)
                .await?;
            ensure!(refused == 6.0, "{refused} of eight needed an installer");
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
