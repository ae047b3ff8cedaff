//! The scripts manager, called by the benchmark's agent through its Service. Each script proves that its run is its own.

use std::{
    fs::{self, DirEntry},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, ResourceExt, api::ListParams};
use reqwest::{Client, StatusCode};
use rockbot_e2e::{
    Namespace, eventually,
    identity::token,
    node::container_id,
    release::{self, SCRIPTS_MANAGER, SCRIPTS_NAMESPACE},
    wait::Seen,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

/// Part of the command line of a supervisor in a pod, and of the script's process, which it forks.
const SUPERVISOR: &str = "\0pod\0walls=";
/// Longest time until every used pod is gone and the pool is full.
const REST_DEADLINE: Duration = Duration::from_secs(120);
/// What is left of the node's work once Kubernetes says that it is done.
const CALM: Duration = Duration::from_millis(300);

/// A way to the scripts manager.
#[derive(Debug)]
pub(crate) struct Manager {
    http: Client,
    /// Base URL of its API.
    pub(crate) url: String,
    /// Token of the benchmark's agent.
    pub(crate) token: String,
    scripts: Api<Pod>,
}

/// What became of a script.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It printed what it should have.
    Good(Run),
    /// It was refused with 429.
    Overloaded,
    /// It was lost, or its answer is not its own.
    Wrong(String),
}

/// A script that ran.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From request to answer.
    pub(crate) took: Duration,
    /// The pod that served it.
    pub(crate) pod: String,
}

/// The parts of `GET /v1/status` that tell whether anything is going on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Status {
    /// Pods that wait for a script.
    pub(crate) parked: usize,
    starting: usize,
    running: usize,
    waiting: usize,
}

impl Manager {
    /// Connects, with a token that is good for ten minutes.
    pub(crate) async fn connect(ns: &Namespace) -> Result<Self> {
        let client = ns.cluster.client.clone();
        let services: Api<Service> = Api::namespaced(client.clone(), release::NAMESPACE);
        let service = services.get(SCRIPTS_MANAGER).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip);
        let http = Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .timeout(Duration::from_secs(90))
            .build()?;
        Ok(Self {
            http,
            url: format!("http://{}:8080", address.context("the scripts manager has no address")?),
            token: token(ns, "agent-bench", Some("rockbot-scripts-manager"), None).await?,
            scripts: Api::namespaced(client, SCRIPTS_NAMESPACE),
        })
    }

    /// Runs a script that prints a nonce of its source and one of its input.
    pub(crate) async fn run(&self) -> Outcome {
        let (nonce, input) = (Uuid::new_v4(), Uuid::new_v4());
        let script = format!("import os\nprint('{nonce}', os.environ['ROCKBOT_INPUT'])");
        let request = self
            .http
            .post(format!("{}/v1/scripts", self.url))
            .bearer_auth(&self.token)
            .json(&json!({ "script": script, "input_data": input }));
        let begin = Instant::now();
        let answer = async {
            let response = request.send().await?;
            let status = response.status();
            anyhow::Ok((status, response.json::<Value>().await?))
        };
        match answer.await {
            Ok((StatusCode::TOO_MANY_REQUESTS, _)) => Outcome::Overloaded,
            Ok((StatusCode::OK, result)) if result["stdout"] == format!("{nonce} {input}\n") => Outcome::Good(Run {
                took: begin.elapsed(),
                pod: result["script_id"].as_str().unwrap_or_default().to_owned(),
            }),
            Ok((status, body)) => Outcome::Wrong(format!("{status}: {body}")),
            Err(error) => Outcome::Wrong(format!("{error:#}")),
        }
    }

    /// Runs a script that nothing may be wrong with.
    pub(crate) async fn run_well(&self) -> Result<Run> {
        match self.run().await {
            Outcome::Good(run) => Ok(run),
            Outcome::Overloaded => bail!("the scripts manager is overloaded by one script at a time"),
            Outcome::Wrong(what) => bail!("a script went wrong: {what}"),
        }
    }

    /// Names of all script pods.
    pub(crate) async fn pods(&self) -> Result<Vec<String>> {
        let pods = self.scripts.list(&ListParams::default()).await?;
        Ok(pods.iter().map(ResourceExt::name_any).collect())
    }

    /// How many processes of script pods are on this node that belong to none of the pods that there are.
    pub(crate) async fn processes_left(&self) -> Result<usize> {
        let pods = self.scripts.list(&ListParams::default()).await?;
        let containers = pods.iter().map(container_id).collect::<Result<Vec<_>>>()?;
        let is_left = |process: &DirEntry| {
            let read = |file: &str| fs::read(process.path().join(file)).unwrap_or_default();
            let (command, groups) = (read("cmdline"), read("cgroup"));
            let (command, groups) = (String::from_utf8_lossy(&command), String::from_utf8_lossy(&groups));
            command.contains(SUPERVISOR) && !containers.iter().any(|id| groups.contains(id))
        };
        Ok(fs::read_dir("/proc")?.filter_map(Result::ok).filter(is_left).count())
    }

    /// Waits until every used pod is gone and the pool is full, and says what is there then.
    pub(crate) async fn at_rest(&self) -> Result<Status> {
        let status = eventually("the scripts manager is at rest", REST_DEADLINE, async || {
            let status: Status = self
                .http
                .get(format!("{}/v1/status", self.url))
                .send()
                .await?
                .json()
                .await?;
            let Status {
                parked,
                starting,
                running,
                waiting,
            } = status;
            let pods = self.pods().await?.len();
            let rests = starting + running + waiting == 0 && parked > 0 && pods == parked;
            Ok(if rests {
                Seen::Done(status)
            } else {
                Seen::NotYet(format!("{status:?}, {pods} pods"))
            })
        });
        let status = status.await?;
        sleep(CALM).await;
        Ok(status)
    }
}
