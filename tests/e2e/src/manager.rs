//! A scripts manager as a process of a test, with script pods in a namespace of its own: it can be killed, and its way to the
//! API server cut, without anybody else noticing.

use std::{
    fs::{File, read_to_string},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
    config::Kubeconfig,
};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Child, time::timeout};

use crate::{
    identity::token,
    in_namespace,
    link::Link,
    namespace::Namespace,
    process,
    wait::{Seen, eventually},
};

/// A dead manager's pods are gone within one sweep of another: 10 s, and 20 s in which a supervisor waits for somebody to
/// attach; and what the kubelet needs.
pub const SWEEP: Duration = Duration::from_secs(60);

/// Where managers are started.
pub struct Stage {
    /// Namespace of the script pods, and of the agent that calls.
    pub ns: Namespace,
    directory: TempDir,
    token: String,
    logs: Mutex<Vec<PathBuf>>,
}

/// A running manager. It is killed with this value.
pub struct Manager {
    /// Its way to the API server.
    pub link: Link,
    child: Child,
    name: String,
    log: PathBuf,
    base: String,
    http: Client,
    token: String,
}

/// Runs `test` with a namespace in which nothing but its managers makes pods; when it fails, prints what they logged.
///
/// # Errors
/// What `test` returned.
pub async fn on_stage(purpose: &str, test: impl AsyncFnOnce(&Stage) -> Result<()>) -> Result<()> {
    in_namespace(purpose, async |ns| {
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "agent-one" } }))?;
        ns.api::<ServiceAccount>()
            .create(&PostParams::default(), &account)
            .await?;
        let stage = Stage {
            ns: ns.clone(),
            directory: tempfile::tempdir()?,
            token: token(ns, "agent-one", Some("rockbot-scripts-manager"), None).await?,
            logs: Mutex::default(),
        };
        let outcome = test(&stage).await;
        if outcome.is_err() {
            stage.print_logs();
        }
        outcome
    })
    .await
}

impl Stage {
    /// Starts a manager with these flags more and waits until it can list its pods.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn manager(&self, flags: &[&str]) -> Result<Manager> {
        let name = format!("manager-{}", self.logs.lock().expect("no panic under it").len());
        self.start(name, flags).await
    }

    /// Kills a manager, and starts another in the same pod, as the kubelet does with a container that ended.
    ///
    /// # Errors
    /// When it cannot be killed, or the other does not come up.
    pub async fn restart(&self, manager: Manager, flags: &[&str]) -> Result<Manager> {
        let name = manager.name.clone();
        manager.kill().await?;
        self.start(name, flags).await
    }

    async fn start(&self, name: String, flags: &[&str]) -> Result<Manager> {
        let (link, kubeconfig) = self.way_to_api_server(&name).await?;
        let log = {
            let mut logs = self.logs.lock().expect("no panic under it");
            let log = self.directory.path().join(format!("{name}.{}.log", logs.len()));
            logs.push(log.clone());
            log
        };
        let mut command = process::command(&self.ns.cluster.settings.binary("rockbot-scripts-manager")?);
        command
            .args([
                "--listen=127.0.0.1:0",
                "--pod-name",
                &name,
                "--scripts-namespace",
                &self.ns.name,
            ])
            .args(flags)
            .env_clear()
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let child = command.spawn().context("cannot start a scripts manager")?;
        let address = eventually("the manager listens", Duration::from_secs(10), async || {
            let text = read_to_string(&log)?;
            let found = text.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == "started").then(|| line["listen"].as_str().map(str::to_owned))?
            });
            Ok(found.map_or(Seen::NotYet(text), Seen::Done))
        })
        .await?;
        let manager = Manager {
            link,
            child,
            name,
            log,
            base: format!("http://{address}"),
            http: Client::builder().no_proxy().timeout(Duration::from_secs(90)).build()?,
            token: self.token.clone(),
        };
        eventually("the manager is ready", Duration::from_secs(20), async || {
            let response = manager.http.get(format!("{}/readyz", manager.base)).send().await?;
            let status = response.status();
            let text = response.text().await?;
            Ok(Seen::when(status == StatusCode::OK, || text))
        })
        .await?;
        Ok(manager)
    }

    async fn way_to_api_server(&self, name: &str) -> Result<(Link, PathBuf)> {
        let mut file = Kubeconfig::read_from(self.ns.cluster.settings.kubeconfig())?;
        let cluster = file.clusters.first_mut().and_then(|named| named.cluster.as_mut());
        let cluster = cluster.context("a kubeconfig without a cluster")?;
        let server = cluster.server.take().context("a cluster without an address")?;
        let link = Link::to(server.trim_start_matches("https://").to_owned()).await?;
        cluster.server = Some(format!("https://{}", link.address));
        cluster.tls_server_name = Some("kubernetes".to_owned());
        let path = self.directory.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, serde_json::to_string(&file)?)?;
        Ok((link, path))
    }

    /// What a manager has logged.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn log(&self, of: &Manager) -> Result<String> {
        Ok(read_to_string(&of.log)?)
    }

    /// The pods of one manager, or of all.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self, of: Option<&Manager>) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = self.ns.api();
        let all = pods.list(&ListParams::default()).await?.items;
        let is_wanted = |pod: &Pod| {
            let instance = pod.annotations().get("rockbot.dev/instance");
            of.is_none_or(|manager| instance == Some(&manager.name))
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    /// Waits until only these pods are left.
    ///
    /// # Errors
    /// When that takes longer than a sweep.
    pub async fn only(&self, names: &[String]) -> Result<()> {
        eventually("no other pods are left", SWEEP, async || {
            let mut left = names_of(&self.pods(None).await?);
            left.retain(|name| !names.contains(name));
            Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
        })
        .await
    }

    fn print_logs(&self) {
        for log in self.logs.lock().expect("no panic under it").iter() {
            eprintln!("--- {}", log.display());
            let text = read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(80)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Manager {
    /// A request for a script, by the stage's agent.
    pub fn request(&self, script: &str, timeout_seconds: u32) -> RequestBuilder {
        self.http
            .post(format!("{}/v1/scripts", self.base))
            .bearer_auth(&self.token)
            .json(&json!({ "script": script, "timeout_seconds": timeout_seconds }))
    }

    /// Runs a script; whatever the answer is.
    ///
    /// # Errors
    /// When none comes.
    pub async fn run(&self, script: &str, timeout_seconds: u32) -> Result<(StatusCode, Value)> {
        answer(self.request(script, timeout_seconds)).await
    }

    /// Runs a script that prints `expected`, and returns the name of its pod.
    ///
    /// # Errors
    /// When it does not.
    pub async fn prints(&self, script: &str, expected: &str) -> Result<String> {
        let (status, result) = self.run(script, 20).await?;
        ensure!(
            status == StatusCode::OK && result["stdout"] == expected,
            "{status}: {result}"
        );
        Ok(result["script_id"].as_str().unwrap_or_default().to_owned())
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn status(&self) -> Result<Value> {
        let response = self.http.get(format!("{}/v1/status", self.base)).send().await?;
        Ok(response.json().await?)
    }

    /// Waits until a status is as wanted.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn until(&self, what: &str, deadline: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, deadline, async || {
            let status = self.status().await?;
            Ok(if wanted(&status) {
                Seen::Done(status)
            } else {
                Seen::NotYet(status.to_string())
            })
        })
        .await
    }

    /// Waits until so many pods are parked and none is on its way, and returns their names.
    ///
    /// # Errors
    /// When they are not within a minute.
    pub async fn parked(&self, stage: &Stage, count: usize) -> Result<Vec<String>> {
        let full = |status: &Value| status["parked"] == count && status["starting"] == 0;
        self.until("the pool is full", Duration::from_secs(60), full).await?;
        eventually(
            "the pods are those that are parked",
            Duration::from_secs(30),
            async || {
                let names = names_of(&stage.pods(Some(self)).await?);
                Ok(if names.len() == count {
                    Seen::Done(names)
                } else {
                    Seen::NotYet(format!("{names:?}"))
                })
            },
        )
        .await
    }

    /// Everything that it counts.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn metrics(&self) -> Result<String> {
        let response = self.http.get(format!("{}/metrics", self.base)).send().await?;
        Ok(response.text().await?)
    }

    /// The value of a metric; zero when it is not there.
    ///
    /// # Errors
    /// When there are none.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.metrics().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(Ok(0.0), |value| value.parse().context("not a number"))
    }

    /// Waits until a metric, which is counted a little later than its cause is told of, has a value.
    ///
    /// # Errors
    /// When it has another.
    pub async fn counts(&self, name: &str, expected: f64) -> Result<()> {
        eventually(&format!("{name} is {expected}"), Duration::from_secs(5), async || {
            let value = self.metric(name).await?;
            ensure!(value <= expected, "it is {value}");
            Ok(Seen::when(value == expected, || value.to_string()))
        })
        .await
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Kills it: it can do nothing about that.
    ///
    /// # Errors
    /// When that is not possible.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(&mut self) -> Result<()> {
        let id = self.child.id().context("it has ended")?.to_string();
        let mut kill = process::command(Path::new("kill"));
        kill.args(["-TERM", &id]);
        process::check(kill, "", Duration::from_secs(5)).await?;
        let status = timeout(Duration::from_secs(30), self.child.wait())
            .await
            .context("it does not end")??;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

/// Sends a request.
///
/// # Errors
/// When no answer comes, or one that is not JSON.
pub async fn answer(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await?;
    let status = response.status();
    Ok((status, response.json().await?))
}

/// Names of pods.
pub fn names_of(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}
