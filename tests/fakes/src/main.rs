//! `rockbot-fake-model`: the scripted model provider as a process of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::net::TcpListener;

/// A scripted model provider: OpenAI's and Anthropic's wires at `/{scenario}/v1`, Gemini's at `/{scenario}/v1beta`.
#[derive(Debug, Parser)]
#[command(name = "rockbot-fake-model", version)]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { listen } = Args::parse();
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    // With port 0 this line alone tells where it is.
    println!("scripted model on http://{}", listener.local_addr()?);
    rockbot_fakes::serve(listener).await.context("the listener broke")
}
