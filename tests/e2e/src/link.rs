//! The way from a process of a test to the API server, which the test can cut, block and freeze: no other process notices.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// They pass.
    Open,
    /// None is let through any more.
    Blocked,
    /// They are there, and nothing passes.
    Frozen,
}

/// A way that ends with this value.
#[derive(Debug)]
pub struct Link {
    /// Where it begins.
    pub address: SocketAddr,
    /// The state, and how often every connection was cut.
    state: Arc<watch::Sender<(State, u64)>>,
}

impl Link {
    /// A way to `target`.
    ///
    /// # Errors
    /// When this machine has no port for it.
    pub async fn to(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new((State::Open, 0)));
        let changes = state.subscribe();
        tokio::spawn(async move {
            let mut ended = changes.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        tokio::spawn(pass(stream, target.clone(), changes.clone()));
                    }
                    // The link is gone.
                    _ = ended.wait_for(|_| false) => return,
                }
            }
        });
        Ok(Self { address, state })
    }

    /// Ends every connection; new ones pass.
    pub fn cut(&self) {
        self.change(State::Open);
    }

    /// Ends every connection, and new ones at once.
    pub fn block(&self) {
        self.change(State::Blocked);
    }

    /// Lets nothing pass any more, and ends nothing: neither side notices.
    pub fn freeze(&self) {
        self.state.send_modify(|(state, _)| *state = State::Frozen);
    }

    fn change(&self, to: State) {
        self.state.send_modify(|(state, cuts)| {
            *state = to;
            *cuts += 1;
        });
    }
}

async fn pass(mut stream: TcpStream, target: String, mut changes: watch::Receiver<(State, u64)>) -> Result<()> {
    let (state, cuts) = *changes.borrow_and_update();
    if state == State::Blocked {
        return Ok(());
    }
    let mut server = TcpStream::connect(&target).await.context("no API server")?;
    stream.set_nodelay(true)?;
    server.set_nodelay(true)?;
    loop {
        let is_open = changes.borrow().0 == State::Open;
        tokio::select! {
            copied = copy_bidirectional(&mut stream, &mut server), if is_open => return Ok(copied.map(drop)?),
            changed = changes.changed() => {
                changed?;
                if changes.borrow_and_update().1 != cuts {
                    return Ok(());
                }
            }
        }
    }
}
