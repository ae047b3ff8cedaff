//! A server under measurement, in processes of its own: how long it takes to be ready, its memory, its time on a CPU.

use std::{
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use super::client::Connection;

/// A server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// A port of this machine that nobody has at this moment.
pub(crate) fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

impl Process {
    /// Starts `command`, which will listen on `address`, and waits until it answers `GET path` well. Also returns how long
    /// that took.
    pub(crate) async fn start(
        mut command: Command,
        address: SocketAddr,
        path: &str,
        deadline: Duration,
    ) -> Result<(Self, Duration)> {
        let program = command.as_std().get_program().to_owned();
        let begin = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program:?}"))?;
        let mut process = Self { child, address };
        while !process.answers(path).await {
            if let Some(status) = process.child.try_wait()? {
                bail!("{program:?} ended before it served: {status}");
            }
            if begin.elapsed() > deadline {
                bail!("{program:?} is not ready after {} s", deadline.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok((process, begin.elapsed()))
    }

    async fn answers(&self, path: &str) -> bool {
        match Connection::open(self.address).await {
            Ok(mut connection) => connection.get(path).await.is_ok_and(|status| status == 200),
            Err(_) => false,
        }
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot end a server")
    }

    /// Resident memory of all its processes, in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let mut kib = 0.0;
        for process in self.tree()? {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let line = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
            kib += line.parse::<f64>()?;
        }
        Ok(kib / 1024.0)
    }

    /// Time that its threads have been on a CPU.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.tree()?.into_iter().map(cpu_of).sum()
    }

    /// It and its descendants.
    fn tree(&self) -> Result<Vec<u32>> {
        let mut tree = vec![self.child.id().context("the server has ended")?];
        let mut next = 0;
        while let Some(process) = tree.get(next).copied() {
            for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
                let children = std::fs::read_to_string(thread?.path().join("children"))?;
                tree.extend(
                    children
                        .split_whitespace()
                        .filter_map(|child| child.parse::<u32>().ok()),
                );
            }
            next += 1;
        }
        Ok(tree)
    }
}

/// Time that the threads of a process have been on a CPU.
pub(crate) fn cpu_of(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
