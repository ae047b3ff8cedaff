//! T16: what a caller of `POST /v1/scripts` sees.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use reqwest::{Response, StatusCode};
use rockbot_e2e::{
    eventually,
    manager::{answer, on_stage},
    wait::Seen,
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// What ordinary scripts do; on one machine they run, too.
const NEEDS: &str = include_str!("../../../../scripts-manager/local/tests/sandbox/needs.py");
/// What the standard library has processes share, of which one machine has only pipes.
const PROCESSES: &str = include_str!("../../../../scripts-manager/local/tests/sandbox/processes.py");
const SLEEP: &str = "import time; print('begun', flush=True); time.sleep(60)";

#[tokio::test]
async fn t16_output_comes_while_the_script_runs_and_then_the_result() -> Result<()> {
    on_stage("stream", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        let script = "import sys, time; print('one', flush=True); time.sleep(2); print('é', file=sys.stderr)";
        let begin = Instant::now();
        let request = manager.request(script, 20).header("accept", "text/event-stream");
        let mut events = Events::of(request.send().await?)?;
        ensure!(events.next().await? == ("stdout".into(), json!({ "text": "one\n" })));
        manager.parked(stage, 1).await?;
        ensure!(events.next().await? == ("stderr".into(), json!({ "text": "é\n" })));
        let (name, result) = events.next().await?;
        ensure!(
            name == "result" && begin.elapsed() > Duration::from_secs(2),
            "{name}: {result}"
        );
        ensure!(
            result["stdout"] == "one\n" && result["stderr"] == "é\n" && result["exit_code"] == 0,
            "{result}"
        );
        ensure!(events.next().await.is_err(), "the result is the last event");

        // What fails before anything was said has a status of its own.
        let wrong = manager.request(" ", 20).header("accept", "text/event-stream");
        let (status, body) = answer(wrong).await?;
        ensure!(
            status == StatusCode::BAD_REQUEST && body["error"]["code"] == "invalid_request",
            "{status}: {body}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t16_the_longest_input_and_script_arrive_whole() -> Result<()> {
    on_stage("long", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        let input = "\"é\n".repeat((8 << 20) / 4);
        let script = "import hashlib, os; print(hashlib.sha256(open(os.environ['ROCKBOT_INPUT_FILE'], 'rb').read()).hexdigest())";
        let script = format!("{script}\n#{}", "x".repeat((1 << 20) - script.len() - 2));
        let body = json!({ "script": script, "input_data": input });
        let (status, result) = answer(manager.request("", 20).json(&body)).await?;
        let expected = format!("{}\n", sha256(&input));
        ensure!(status == StatusCode::OK && result["stdout"] == expected.as_str(), "{status}: {result}");
        let too_long = json!({ "script": "1", "input_data": format!("{input}.") });
        let (status, body) = answer(manager.request("", 20).json(&too_long)).await?;
        ensure!(status == StatusCode::BAD_REQUEST, "{status}: {body}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t16_what_scripts_need_works_in_a_pod() -> Result<()> {
    on_stage("needs", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        manager.prints(NEEDS, "all works\n").await?;
        manager.prints(PROCESSES, "\n").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t16_a_key_is_run_once() -> Result<()> {
    on_stage("once", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        let request = |script: &str, key: &str| manager.request(script, 20).header("idempotency-key", key);
        let script = "import time; time.sleep(1); print('once')";
        let ((status, one), (_, joined)) =
            tokio::try_join!(answer(request(script, "a")), answer(request(script, "a")))?;
        ensure!(status == StatusCode::OK && one["stdout"] == "once\n", "{status}: {one}");
        ensure!(one == joined, "two runs: {one} and {joined}");
        let (_, replayed) = answer(request(script, "a")).await?;
        ensure!(one == replayed, "two runs: {one} and {replayed}");
        let streamed = request(script, "a")
            .header("accept", "text/event-stream")
            .send()
            .await?;
        let mut events = Events::of(streamed)?;
        ensure!(events.next().await? == ("stdout".into(), json!({ "text": "once\n" })));
        ensure!(events.next().await? == ("result".into(), one));
        let (status, refused) = answer(request("print(2)", "a")).await?;
        ensure!(
            status == StatusCode::UNPROCESSABLE_ENTITY && refused["error"]["code"] == "invalid_request",
            "{status}: {refused}"
        );

        // A client that loses its connection comes back to the same run.
        let broken = timeout(Duration::from_millis(500), request(script, "b").send()).await;
        ensure!(broken.is_err(), "it has answered already");
        let (status, found) = answer(request(script, "b")).await?;
        ensure!(
            status == StatusCode::OK && found["stdout"] == "once\n",
            "{status}: {found}"
        );
        manager
            .counts(r#"rockbot_scripts_runs_total{outcome="succeeded"}"#, 2.0)
            .await?;
        manager.counts("rockbot_scripts_idempotent_replays_total", 4.0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t16_a_client_that_goes_away_ends_its_script() -> Result<()> {
    on_stage("gone", async |stage| {
        let manager = stage.manager(&["--pool-min=1"]).await?;
        for (key, accept) in [(None, "*/*"), (None, "text/event-stream"), (Some("k"), "*/*")] {
            manager.parked(stage, 1).await?;
            let mut request = manager.request(SLEEP, 60).header("accept", accept);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let running = timeout(Duration::from_secs(2), async {
                let response = request.send().await?;
                response.bytes().await
            });
            ensure!(running.await.is_err(), "the script has ended by itself");
            let idle = |status: &Value| status["running"] == 0;
            manager.until("nothing runs", Duration::from_secs(15), idle).await?;
        }
        stage.only(&manager.parked(stage, 1).await?).await?;
        manager
            .counts(r#"rockbot_scripts_runs_total{outcome="cancelled"}"#, 3.0)
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn t18_a_manager_that_is_asked_to_stop_ends_what_it_began() -> Result<()> {
    on_stage("stop", async |stage| {
        let mut manager = stage.manager(&["--pool-min=2"]).await?;
        manager.parked(stage, 2).await?;
        let request = manager.request("import time; time.sleep(6); print('done')", 20);
        let running = tokio::spawn(answer(request));
        let runs = |status: &Value| status["running"] == 1;
        manager.until("the script runs", Duration::from_secs(5), runs).await?;
        manager.stop().await?;
        let (status, result) = running.await??;
        ensure!(
            status == StatusCode::OK && result["stdout"] == "done\n",
            "{status}: {result}"
        );
        // Not swept by anybody: there is nobody else.
        stage.only(&[]).await
    })
    .await
}

#[tokio::test]
async fn t18_a_script_is_one_line_of_the_log_with_nothing_that_it_said() -> Result<()> {
    on_stage("audit", async |stage| {
        // No level leaves it out. The test reads the address from a line of the manager itself.
        let levels = "--log-level=error,rockbot_scripts_manager=info";
        let manager = stage.manager(&["--pool-min=1", levels]).await?;
        let script = "import sys; print('private'); sys.exit(3)";
        let (_, result) = manager.run(script, 20).await?;
        let line = eventually("there is a line", Duration::from_secs(5), async || {
            let log = stage.log(&manager)?;
            ensure!(!log.contains("private"), "the log has what the script said: {log}");
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.find(|line| line["message"] == "script");
            Ok(line.map_or(Seen::NotYet(log), Seen::Done))
        })
        .await?;
        let expected = json!({
            "agent": "one", "namespace": stage.ns.name, "script_sha256": sha256(script), "packages": "", "pod": result["script_id"],
            "outcome": "failed", "exit_code": 3, "oom_killed": false, "bytes_in": script.len(), "bytes_out": "private\n".len(),
            "idempotent": false, "target": "audit",
        });
        for (field, value) in expected.as_object().into_iter().flatten() {
            ensure!(line[field] == *value, "{field}: {line}");
        }
        for field in ["queue_ms", "total_ms", "duration_ms", "cpu_ms", "max_rss_kb"] {
            ensure!(line[field].is_number(), "{field}: {line}");
        }
        Ok(())
    })
    .await
}

/// The events of an answer.
struct Events {
    response: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<Vec<u8>>> + Send>>,
    text: String,
}

impl Events {
    fn of(response: Response) -> Result<Self> {
        ensure!(response.status() == StatusCode::OK, "{}", response.status());
        ensure!(response.headers()["content-type"] == "text/event-stream");
        let response = response.bytes_stream().map(|piece| piece.map(Vec::from)).boxed();
        let text = String::new();
        Ok(Self { response, text })
    }

    /// Name and data of the next event.
    async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let (Some(name), Some(data)) = (field("event: "), field("data: ")) else {
                    continue; // a sign of life
                };
                return Ok((name, serde_json::from_str(&data)?));
            }
            let piece = timeout(Duration::from_secs(20), self.response.next()).await?;
            self.text += std::str::from_utf8(&piece.context("the answer has ended")??)?;
        }
    }
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("{:x}", Sha256::digest(text))
}
