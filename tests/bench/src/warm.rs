//! Scripts that find a parked pod: how long they take, where that time goes, and what an agent's tool call adds.

use std::{
    collections::HashMap,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use rockbot_agent::{
    Context, Metrics, RequestContext,
    tools::{
        Invoker, ToolInvokeRequest, ToolRegistry,
        scripts::{ScriptTool, registration},
    },
};
use rockbot_agent_config::ScriptsConfig;
use rockbot_e2e::{Namespace, eventually, release, wait::Seen};
use rockbot_scripts_api::{Client, ClientSettings};
use serde::Deserialize;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::{
    manager::{Manager, Run},
    progress::Progress,
    python::Python,
    report::Report,
    stats::Samples,
};

/// Longest time until a line of the manager can be read.
const LOG_DEADLINE: Duration = Duration::from_secs(10);

/// One script at a time, each when the pod of the one before is gone; every other time a second one by the agent's tool.
pub(crate) async fn measure_alone(ns: &Namespace, python: &Python, n: usize, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let tool = Tool::new(&manager)?;
    let [mut local, mut warm, mut by_tool] = std::array::from_fn(|_| Samples::default());
    let mut runs = Vec::with_capacity(n);
    // The first ones make connections.
    manager.run_well().await?;
    tool.call().await?;
    let progress = Progress::new("warm scripts", n);
    for round in 0..n {
        manager.at_rest().await?;
        local.push(python.start().await?);
        let run = manager.run_well().await?;
        warm.push(run.took);
        runs.push(run);
        if round % 2 == 0 {
            manager.at_rest().await?;
            let begin = Instant::now();
            tool.call().await?;
            by_tool.push(begin.elapsed());
        }
        progress.step();
    }
    let baseline = python.label();
    report.duration(&baseline, local.summary());
    let warm = warm.summary();
    report.ratio(
        "warm script, request to answer, one at a time",
        warm,
        (&baseline, local.summary()),
    );
    add_phases(ns, &runs, report).await?;
    let by_tool = by_tool.summary();
    report.duration("warm script by the agent's tool, call to answer", by_tool);
    report.difference("  the agent adds (difference of the figures)", by_tool, warm);
    Ok(())
}

/// As many scripts right behind each other as pods are parked: teardown and refill go on meanwhile.
pub(crate) async fn measure_in_a_row(ns: &Namespace, python: &Python, n: usize, report: &mut Report) -> Result<()> {
    let manager = Manager::connect(ns).await?;
    let (mut local, mut warm) = (Samples::default(), Samples::default());
    let progress = Progress::new("warm scripts in a row", n);
    let mut done = 0;
    while done < n {
        let parked = manager.at_rest().await?.parked;
        for _ in 0..parked {
            local.push(python.start().await?);
        }
        for _ in 0..parked {
            warm.push(manager.run_well().await?.took);
            progress.step();
        }
        done += parked;
    }
    let baseline = format!("{}, before each row", python.label());
    report.duration(&baseline, local.summary());
    report.ratio(
        "warm script, right behind the one before",
        warm.summary(),
        (&baseline, local.summary()),
    );
    Ok(())
}

/// `execute_python_script` in this process, as an agent has it.
struct Tool {
    registry: ToolRegistry,
    invoker: Invoker,
    request: ToolInvokeRequest,
    _token_file: NamedTempFile,
}

impl Tool {
    fn new(manager: &Manager) -> Result<Self> {
        let mut token_file = NamedTempFile::new()?;
        token_file.write_all(manager.token.as_bytes())?;
        let client = Client::new(ClientSettings {
            url: manager.url.parse()?,
            token_file: token_file.path().to_owned(),
        })?;
        let config = ScriptsConfig {
            timeout_seconds: 30,
            packages: Vec::new(),
        };
        let registry = ToolRegistry::default();
        let tool = ScriptTool::new(Arc::new(client), &config).map_err(|error| anyhow!(error))?;
        registry.register(registration(&config), Arc::new(tool))?;
        let request = ToolInvokeRequest {
            tool_call_id: "call".to_owned(),
            tool_name: "execute_python_script".to_owned(),
            arguments: json!({ "script": "print(6*7)" }).to_string(),
            session_id: "bench".to_owned(),
            context: Context::new("bench", RequestContext::anonymous("bench")),
        };
        Ok(Self {
            registry,
            invoker: Invoker::new(Metrics::default()),
            request,
            _token_file: token_file,
        })
    }

    async fn call(&self) -> Result<()> {
        let response = self.invoker.invoke(&self.registry.snapshot(), &self.request).await?;
        ensure!(response.content == "42\n", "the tool answered {:?}", response.content);
        Ok(())
    }
}

/// What the manager's log says of one run.
#[derive(Debug, Deserialize)]
struct Audited {
    pod: String,
    queue_ms: f64,
    total_ms: f64,
    duration_ms: f64,
}

/// Where the time of `runs` went, by the manager's log. The script's own time is in whole milliseconds there.
async fn add_phases(ns: &Namespace, runs: &[Run], report: &mut Report) -> Result<()> {
    let audited = audited(ns, runs).await?;
    let [mut http, mut queue, mut way, mut script] = std::array::from_fn(|_| Samples::default());
    for run in runs {
        let Audited {
            queue_ms,
            total_ms,
            duration_ms,
            ..
        } = audited
            .get(&run.pod)
            .with_context(|| format!("the manager's log says nothing of the script in {}", run.pod))?;
        http.push_ms(run.took.as_secs_f64() * 1000.0 - total_ms);
        queue.push_ms(*queue_ms);
        way.push_ms(total_ms - queue_ms - duration_ms);
        script.push_ms(*duration_ms);
    }
    report.duration("  of it: HTTP, token, body", http.summary());
    report.duration("  of it: until the parked pod has it", queue.summary());
    report.duration("  of it: there and back by attach, supervisor", way.summary());
    report.duration("  of it: the script (whole milliseconds)", script.summary());
    Ok(())
}

/// The lines of all `runs`; the node's log is a moment behind.
async fn audited(ns: &Namespace, runs: &[Run]) -> Result<HashMap<String, Audited>> {
    let pods: Api<Pod> = Api::namespaced(ns.cluster.client.clone(), release::NAMESPACE);
    let managers = ListParams::default().labels("app.kubernetes.io/component=scripts-manager");
    let read = eventually("the manager's log has every script", LOG_DEADLINE, async || {
        let mut all = HashMap::new();
        for pod in pods.list(&managers).await? {
            let log = pods.logs(&pod.name_any(), &LogParams::default()).await?;
            let lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Audited>(line).ok());
            all.extend(lines.map(|line| (line.pod.clone(), line)));
        }
        Ok(match runs.iter().find(|run| !all.contains_key(&run.pod)) {
            Some(run) => Seen::NotYet(format!("nothing of the one in {}", run.pod)),
            None => Seen::Done(all),
        })
    });
    read.await
}
