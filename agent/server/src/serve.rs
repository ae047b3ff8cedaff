//! Serves until told to stop, then brings what runs to its end.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Server, limits, router};

/// Longer than clients keep a connection that they do not use, so that none sends a request into one that ends.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(120),
    reader: Duration::from_secs(60),
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

/// How long a connection waits for its client.
#[derive(Clone, Copy)]
struct Patience {
    /// For the head of its next request.
    head: Duration,
    /// For it to take anything of an answer. One that does not holds up the answer and with it the deadline of its
    /// request: nobody looks at a clock while there is no room for what would come next.
    reader: Duration,
}

/// Serves `server` on `listener` until `shutdown` is cancelled and what runs has come to its end.
pub async fn serve(mut listener: TcpListener, server: Arc<Server>, drain: Drain, shutdown: CancellationToken) {
    // With their state already: otherwise each request would be given routes of its own.
    let routes = router(Arc::clone(&server)).with_state(());
    let close = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut stopping = pin!(async {
        shutdown.cancelled().await;
        info!("stopping: no longer ready");
        server.drain();
        tokio::time::sleep(drain.linger).await;
    });
    loop {
        tokio::select! {
            (stream, _) = Listener::accept(&mut listener) => {
                connections.spawn(connection(stream, routes.clone(), PATIENCE, close.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut stopping => break,
        }
    }
    drop(listener);
    close.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(drain.deadline, ended).await.is_err() {
        warn!("stopping: requests that still run are cut off");
        connections.shutdown().await;
    }
}

/// Answers the requests of one connection; after `close` only the one that it is at.
async fn connection(stream: TcpStream, routes: Router, patience: Patience, close: CancellationToken) {
    if let Err(error) = prepare(&stream, patience) {
        warn!("a connection cannot be prepared: {error}");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_headers(limits::READ_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    // That a client has gone away is in the records of its requests.
    let _ = tokio::select! {
        ended = &mut connection => ended,
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

fn prepare(stream: &TcpStream, patience: Patience) -> std::io::Result<()> {
    // Otherwise the kernel would hold back a word of an answer until the one before it is acknowledged.
    stream.set_nodelay(true)?;
    let milliseconds = u32::try_from(patience.reader.as_millis()).unwrap_or(u32::MAX);
    Ok(set_tcp_user_timeout(stream, milliseconds)?)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use futures::stream;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::mpsc,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A client of `routes`, on a server that is not patient.
    async fn connected(routes: Router) -> TcpStream {
        let patience = Patience {
            head: Duration::from_millis(200),
            reader: Duration::from_secs(1),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            connection(stream, routes, patience, CancellationToken::new()).await;
        });
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn half_a_head_is_not_waited_for() {
        let mut client = connected(Router::new()).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        let mut rest = Vec::new();
        timeout(DEADLINE, client.read_to_end(&mut rest)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends() {
        let (alive, mut answers) = mpsc::channel::<()>(1);
        let endless = async move || {
            Body::from_stream(stream::repeat_with(move || {
                let _held = &alive;
                Ok::<_, std::io::Error>(vec![b'x'; 1 << 16])
            }))
        };
        let mut client = connected(Router::new().route("/", get(endless))).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        // It is dropped with its connection.
        assert_eq!(timeout(DEADLINE, answers.recv()).await, Ok(None));
        drop(client);
    }
}
