//! Serves routes to clients that may be slow, silent or many, until told to stop.
//!
//! Whoever reaches a port can open connections and say nothing on them, long before anybody knows who it is. So each waits
//! only so long for its client, holds only so much memory, and is one of a bounded number.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, response::Response, serve::Listener};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::warn;

/// Most bytes that a connection holds of what it has read, and of what it has yet to write.
const BUFFER: usize = 64 << 10;
/// Longer than clients keep a connection that they do not use, so that none sends a request into one that ends.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(120),
    reader: Duration::from_secs(60),
};

/// What a server takes from its clients.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at the same time. Further ones wait until one ends.
    pub connections: usize,
    /// Of these, those of one address; further ones are closed. `usize::MAX` where one address speaks for many clients.
    pub connections_of_peer: usize,
    /// Headers of one request that are read. One with more is answered with an empty 431.
    pub headers: usize,
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

/// Who is at the other end of the connection that a request came by: an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

/// Serves `routes` on `listener` until `close` is cancelled. Then each connection ends with the request that it is at, and
/// what still runs after `deadline` is cut off. Dropping the future cuts off everything.
pub async fn serve(
    mut listener: TcpListener,
    routes: Router,
    bounds: Bounds,
    close: CancellationToken,
    deadline: Duration,
) {
    // With their state already: otherwise each request would be given routes of its own.
    let routes = routes.with_state(());
    let (places, peers) = (Arc::new(Semaphore::new(bounds.connections)), Peers::default());
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, Listener::accept(&mut listener).await)
        };
        let (place, (stream, address)) = tokio::select! {
            accepted = accept => accepted,
            Some(_) = connections.join_next() => continue,
            () = close.cancelled() => break,
        };
        let peer = Peer(address.ip());
        let Some(counted) = peers.admit(peer, bounds.connections_of_peer) else {
            continue;
        };
        let served = connection(stream, peer, routes.clone(), bounds.headers, PATIENCE, close.clone());
        connections.spawn(async move {
            let _held = (place, counted);
            served.await;
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(deadline, ended).await.is_err() {
        warn!("stopping: requests that still run are cut off");
        connections.shutdown().await;
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<HashMap<Peer, usize>>>);

/// One connection of an address, until it is dropped.
struct Counted {
    peers: Peers,
    peer: Peer,
}

impl Peers {
    fn admit(&self, peer: Peer, most: usize) -> Option<Counted> {
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted {
            peers: self.clone(),
            peer,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// Answers the requests of one connection; after `close` only the one that it is at.
async fn connection(
    stream: TcpStream,
    peer: Peer,
    routes: Router,
    headers: usize,
    patience: Patience,
    close: CancellationToken,
) {
    if let Err(error) = prepare(&stream, patience) {
        warn!("a connection cannot be prepared: {error}");
    }
    let answer = service_fn(move |request| answer(routes.clone(), peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_headers(headers)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), answer);
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

async fn answer(routes: Router, peer: Peer, mut request: Request<Incoming>) -> Result<Response, Infallible> {
    request.extensions_mut().insert(peer);
    routes.oneshot(request).await
}

fn prepare(stream: &TcpStream, patience: Patience) -> std::io::Result<()> {
    // Otherwise the kernel would hold back a word of an answer until the one before it is acknowledged.
    stream.set_nodelay(true)?;
    let milliseconds = u32::try_from(patience.reader.as_millis()).unwrap_or(u32::MAX);
    Ok(set_tcp_user_timeout(stream, milliseconds)?)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{body::Body, extract::Request, routing::get};
    use futures::stream;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::mpsc,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// A client of `routes`, on a server that is not patient.
    async fn connected(routes: Router) -> TcpStream {
        let patience = Patience {
            head: Duration::from_millis(200),
            reader: Duration::from_secs(1),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, from) = listener.accept().await.unwrap();
            let peer = Peer(from.ip());
            connection(stream, peer, routes, 100, patience, CancellationToken::new()).await;
        });
        TcpStream::connect(address).await.unwrap()
    }

    /// A server within `bounds` that says who asks.
    async fn server(bounds: Bounds) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let who = async |request: Request| request.extensions().get::<Peer>().unwrap().0.to_string();
        let routes = Router::new().route("/", get(who));
        tokio::spawn(serve(
            listener,
            routes,
            bounds,
            CancellationToken::new(),
            Duration::ZERO,
        ));
        address
    }

    /// The first bytes of an answer, none when there is nobody to give one.
    async fn ask(client: &mut TcpStream) -> String {
        let mut answer = [0; 1024];
        if client.write_all(ASK).await.is_err() {
            return String::new();
        }
        let read = timeout(DEADLINE, client.read(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer[..read.unwrap_or_default()]).into_owned()
    }

    #[tokio::test]
    async fn half_a_head_is_not_waited_for() {
        let mut client = connected(Router::new()).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        let mut rest = Vec::new();
        timeout(DEADLINE, client.read_to_end(&mut rest)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_endless_head_is_refused_early() {
        let mut client = connected(Router::new()).await;
        client.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        let _ = client.write_all(&vec![b'x'; 4 * BUFFER]).await;
        let mut answer = Vec::new();
        // The connection may be reset behind the answer: not all that was sent is read.
        let _ = timeout(DEADLINE, client.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
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
        client.write_all(ASK).await.unwrap();
        // It is dropped with its connection.
        assert_eq!(timeout(DEADLINE, answers.recv()).await, Ok(None));
        drop(client);
    }

    #[tokio::test]
    async fn one_address_does_not_take_all_connections() {
        let bounds = Bounds {
            connections: 100,
            connections_of_peer: 2,
            headers: 100,
        };
        let address = server(bounds).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first).await.ends_with("127.0.0.1"));
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut second).await.ends_with("127.0.0.1"));
        let mut third = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut third).await, "");

        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(address).await.unwrap();
        assert!(ask(&mut other).await.ends_with("127.0.0.2"));
        drop(first);
        let again = async {
            loop {
                let mut client = TcpStream::connect(address).await.unwrap();
                if !ask(&mut client).await.is_empty() {
                    return;
                }
            }
        };
        timeout(DEADLINE, again).await.unwrap();
    }

    #[tokio::test]
    async fn those_who_come_when_all_connections_are_taken_wait() {
        let bounds = Bounds {
            connections: 1,
            connections_of_peer: usize::MAX,
            headers: 100,
        };
        let address = server(bounds).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut first).await.ends_with("127.0.0.1"));
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(ASK).await.unwrap();
        let mut answer = [0; 1024];
        let early = timeout(Duration::from_millis(100), second.read(&mut answer)).await;
        assert!(early.is_err(), "it waits");
        drop(first);
        let read = timeout(DEADLINE, second.read(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0);
    }
}
