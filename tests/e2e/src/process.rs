//! Child processes: tools that run to their end, and servers that live as long as a guard.

use std::{ffi::OsStr, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines},
    process::{Child, Command},
    time::timeout,
};

/// How a tool ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// Whether the exit status was zero.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
}

/// Runs `command` to its end with `stdin`, whatever its exit status.
///
/// # Errors
/// When it cannot be started or does not end within `deadline`; it is killed then.
pub async fn run(mut command: Command, stdin: &str, deadline: Duration) -> Result<Output> {
    let name = describe(&command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    let text = stdin.to_owned();
    // A tool that does not read its input closes the pipe; its exit status says whether that was right.
    let writer = tokio::spawn(async move { pipe.write_all(text.as_bytes()).await });
    let output = timeout(deadline, child.wait_with_output())
        .await
        .with_context(|| format!("{name} did not end within {} s", deadline.as_secs()))??;
    writer.abort();
    Ok(Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `command` to its end and returns what it printed.
///
/// # Errors
/// As [`run`], and when its exit status is not zero.
pub async fn check(command: Command, stdin: &str, deadline: Duration) -> Result<String> {
    let name = describe(&command);
    let output = run(command, stdin, deadline).await?;
    ensure!(output.success(), "{name} failed:\n{}{}", output.stdout, output.stderr);
    Ok(output.stdout)
}

/// A server of a test: dies with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts `command` and waits for the line of its standard output or error in which `find` sees what it looks for.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not print such a line within `deadline`.
    pub async fn start<T>(
        mut command: Command,
        deadline: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T)> {
        let name = describe(&command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut stderr = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let mut printed = String::new();
        let search = async {
            let (mut out_open, mut err_open) = (true, true);
            while out_open || err_open {
                let line = tokio::select! {
                    line = stdout.next_line(), if out_open => { let line = line?; out_open = line.is_some(); line }
                    line = stderr.next_line(), if err_open => { let line = line?; err_open = line.is_some(); line }
                };
                let line = line.unwrap_or_default();
                printed.push_str(&line);
                printed.push('\n');
                if let Some(found) = find(&line) {
                    return Ok(found);
                }
            }
            bail!("it ended")
        };
        let found = timeout(deadline, search)
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("nothing in time")));
        let found = found.with_context(|| format!("{name} did not come up; it printed:\n{printed}"))?;
        drain(stdout);
        drain(stderr);
        Ok((Self { child }, found))
    }

    /// Process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot end a server of the test")
    }
}

/// `kubectl port-forward` to a Service or pod: `target` is `svc/NAME` or `pod/NAME`.
///
/// # Errors
/// When the port is not forwarded in time.
pub async fn port_forward(kubectl: Command, target: &str, port: u16) -> Result<(Server, SocketAddr)> {
    let mut command = kubectl;
    command.args(["port-forward", "--address=127.0.0.1", target, &format!(":{port}")]);
    Server::start(command, Duration::from_secs(20), |line| {
        line.strip_prefix("Forwarding from ")?.split(' ').next()?.parse().ok()
    })
    .await
}

/// A command for `program`, without arguments yet.
pub fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Keeps reading, so that the server never blocks on a full pipe.
fn drain<R: AsyncRead + Unpin + Send + 'static>(mut lines: Lines<BufReader<R>>) {
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
