//! Memory of an agent while many answers are under way, and after very many of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::timeout;

use super::{Site, client::Connection, paced::WORDS, target};
use crate::{
    progress::Progress,
    report::{Memory, Report},
    stats::Samples,
};

/// Words of a slow answer: the scripted model says ten a second.
const SLOW_WORDS: usize = 60;
const DEADLINE: Duration = Duration::from_secs(120);
/// Clients of the long run.
const CLIENTS: usize = 8;

/// As many slow answers as `n` at the same time.
pub(crate) async fn measure_slow(site: &Site, n: usize, report: &mut Report) -> Result<()> {
    eprintln!("measuring: {n} slow streams at the same time");
    let (agent, _) = site.agent("slow", json!({})).await?;
    let target = target(&agent);
    let request = target.request(SLOW_WORDS);
    let open = async || {
        let mut connection = Connection::open(target.address).await?;
        connection.begin(&request).await?;
        connection.first().await?;
        anyhow::Ok(connection)
    };
    let cpu = agent.cpu()?;
    let mut streams = Vec::with_capacity(n);
    // Not all in one moment: the queue of a listener is short.
    for batch in 0..n.div_ceil(100) {
        let these = (0..(n - batch * 100).min(100)).map(|_| open());
        streams.extend(
            timeout(DEADLINE, try_join_all(these))
                .await
                .context("streams do not begin")??,
        );
    }
    report.memory.push(Memory {
        what: format!("agent with {n} slow streams under way"),
        mib: agent.resident()?,
    });
    let answers = try_join_all(streams.iter_mut().map(Connection::finish));
    let answers = timeout(DEADLINE, answers).await.context("streams do not end")??;
    let tokens: u32 = answers.iter().map(|answer| answer.tokens).sum();
    let mut each = Samples::default();
    each.push((agent.cpu()? - cpu) / tokens.max(1));
    report.duration(
        "CPU of the agent, each chunk of slow streams, their requests included",
        each.summary(),
    );
    agent.stop().await
}

/// `n` requests: what the agent takes after a tenth of them must be enough for all.
pub(crate) async fn measure_growth(site: &Site, n: usize, report: &mut Report) -> Result<()> {
    let (agent, _) = site.agent("echo", json!({})).await?;
    let target = target(&agent);
    let request = target.request(WORDS);
    let progress = Progress::new("tenths of the requests for growth", 10);
    let mut resident = Vec::new();
    for _ in 0..10 {
        let clients = (0..CLIENTS).map(async |_| {
            let mut connection = Connection::open(target.address).await?;
            for _ in 0..n.div_ceil(10 * CLIENTS) {
                connection.ask(&request).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(clients).await?;
        resident.push(agent.resident()?);
        progress.step();
    }
    let [first, .., last] = resident[..] else {
        anyhow::bail!("nothing was measured")
    };
    for (requests, mib) in [(n / 10, first), (n, last)] {
        report.memory.push(Memory {
            what: format!("agent after {requests} requests"),
            mib,
        });
    }
    // A leak of one small allocation a request would show as more than this over the long run.
    let allowed = 1.0 + n as f64 * 16.0 / f64::from(1 << 20);
    ensure!(
        last - first <= allowed,
        "the agent grew from {first:.1} to {last:.1} MiB over {n} requests"
    );
    agent.stop().await
}
