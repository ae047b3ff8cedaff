//! Serves until told to stop, then brings what runs to its end.

use std::{sync::Arc, time::Duration};

use rockbot_http::Bounds;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{Server, limits, router};

/// An agent may be behind a proxy whose address is that of all clients.
const BOUNDS: Bounds = Bounds {
    connections: 16 << 10,
    connections_of_peer: usize::MAX,
    headers: limits::READ_HEADERS,
};

/// How a server stops.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long requests are still accepted after the signal: until every load balancer has read `/ready`.
    pub linger: Duration,
    /// How long running requests may take after that.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            linger: Duration::ZERO,
            deadline: Duration::from_secs(10),
        }
    }
}

/// Serves `server` on `listener` until `shutdown` is cancelled and what runs has come to its end.
pub async fn serve(listener: TcpListener, server: Arc<Server>, drain: Drain, shutdown: CancellationToken) {
    let close = CancellationToken::new();
    let routes = router(Arc::clone(&server));
    let serving = rockbot_http::serve(listener, routes, BOUNDS, close.clone(), drain.deadline);
    let stopping = async {
        shutdown.cancelled().await;
        info!("stopping: no longer ready");
        server.drain();
        tokio::time::sleep(drain.linger).await;
        close.cancel();
    };
    tokio::join!(serving, stopping);
}
