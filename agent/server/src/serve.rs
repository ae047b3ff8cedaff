//! Serves until told to stop, then brings what runs to its end.

use std::{io, sync::Arc, time::Duration};

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Server, router};

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
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    drain: Drain,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let close = CancellationToken::new();
    // Without it, the kernel would hold back a word of an answer until the one before it is acknowledged.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            warn!("cannot set TCP_NODELAY: {error}");
        }
    });
    // Made once: otherwise each connection would be given routes of its own.
    let routes = router(Arc::clone(&server)).into_make_service();
    let serving = axum::serve(listener, routes)
        .with_graceful_shutdown(close.clone().cancelled_owned())
        .into_future();
    let stopping = async {
        shutdown.cancelled().await;
        info!("stopping: no longer ready");
        server.drain();
        tokio::time::sleep(drain.linger).await;
        close.cancel();
        tokio::time::sleep(drain.deadline).await;
    };
    tokio::select! {
        result = serving => result,
        () = stopping => {
            warn!("stopping: requests that still run are cut off");
            Ok(())
        }
    }
}
