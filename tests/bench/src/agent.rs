//! What an agent adds to a streamed answer of its model: until the first token, and for each chunk.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use reqwest::Client;
use rockbot_e2e::Namespace;
use serde_json::{Value, json};

use crate::{report::Report, stats::Samples};

/// Words of the question, and so chunks of the answer: the scripted model says it back word by word.
const WORDS: usize = 100;

/// Alternates between the model itself and the agent in front of it.
pub(crate) async fn measure(ns: &Namespace, n: usize, report: &mut Report) -> Result<()> {
    let http = Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .timeout(Duration::from_secs(30))
        .build()?;
    let model = format!("http://{}:8080/echo/v1/chat/completions", address(ns, "model").await?);
    let agent = format!(
        "http://{}:8080/bench/chat/completions",
        address(ns, "agent-bench").await?
    );
    let [mut first, mut first_added, mut chunk, mut chunk_added] = std::array::from_fn(|_| Samples::default());
    for round in 0..n + 10 {
        let (direct, via) = (ask(&http, &model).await?, ask(&http, &agent).await?);
        // The first rounds make connections and warm caches.
        if round >= 10 {
            first.push(direct.first);
            first_added.push_difference(via.first, direct.first);
            chunk.push(direct.chunk);
            chunk_added.push_difference(via.chunk, direct.chunk);
        }
    }
    report.duration("model called directly: time to the first token", first.summary());
    report.duration("  the agent adds (differences of pairs)", first_added.summary());
    report.duration("model called directly: each further chunk", chunk.summary());
    report.duration("  the agent adds (differences of pairs)", chunk_added.summary());
    Ok(())
}

/// How long an answer took.
struct Answer {
    /// Until the first token.
    first: Duration,
    /// From one token to the next.
    chunk: Duration,
}

/// One streamed answer.
async fn ask(http: &Client, url: &str) -> Result<Answer> {
    let question = vec!["word"; WORDS].join(" ");
    let body = json!({ "model": "bench", "stream": true, "messages": [{ "role": "user", "content": question }] });
    let begin = Instant::now();
    let response = http.post(url).bearer_auth("sk-scripted").json(&body).send().await?;
    ensure!(response.status().is_success(), "{url} answered {}", response.status());
    let mut stream = response.bytes_stream();
    let (mut text, mut first, mut last) = (String::new(), None, begin);
    let mut chunks = 0_u32;
    while let Some(bytes) = stream.next().await {
        text.push_str(std::str::from_utf8(&bytes?)?);
        let now = Instant::now();
        while let Some((event, rest)) = text.split_once("\n\n") {
            if has_content(event) {
                first.get_or_insert(now);
                last = now;
                chunks += 1;
            }
            text = rest.to_owned();
        }
    }
    let first = first.with_context(|| format!("{url} answered without a token"))?;
    ensure!(
        chunks as usize >= WORDS / 2,
        "{url} answered in {chunks} chunks, too few to tell"
    );
    Ok(Answer {
        first: first - begin,
        chunk: (last - first) / (chunks - 1),
    })
}

fn has_content(event: &str) -> bool {
    let data = event
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap_or_default();
    let chunk: Value = serde_json::from_str(data).unwrap_or_default();
    chunk["choices"][0]["delta"]["content"]
        .as_str()
        .is_some_and(|text| !text.is_empty())
}

async fn address(ns: &Namespace, service: &str) -> Result<String> {
    let services: Api<Service> = ns.api();
    let address = services.get(service).await?.spec.and_then(|spec| spec.cluster_ip);
    address.with_context(|| format!("Service {service} has no address"))
}
