//! The canary: a port of this manager that script pods try to reach before they wall themselves in. Its own policy lets
//! them in, so that only the wall around the scripts namespace can stop them: whoever arrives shows that there is none.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::findings::Findings;

/// How long after its start a supervisor's attempt may take. Where nothing stops it, it arrives within a millisecond.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same while a script waits: a supervisor takes half of this to start, so nearly nothing is added to it.
const HURRIED_PATIENCE: Duration = Duration::from_millis(100);
/// Longest attempt of this manager to reach itself.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long a supervisor waits for the outcome of its attempt, counted from its start.
pub(crate) fn patience(hurry: bool) -> Duration {
    if hurry { HURRIED_PATIENCE } else { PATIENCE }
}

/// Lets everybody in and closes at once: no connection is held, and nothing is said or read.
pub(crate) async fn serve(listener: TcpListener, stop: CancellationToken) {
    loop {
        tokio::select! {
            arrived = listener.accept() => match arrived {
                Ok(connection) => drop(connection),
                // Out of descriptors, perhaps: not at full speed.
                Err(_) => sleep(ATTEMPT).await,
            },
            () = stop.cancelled() => return,
        }
    }
}

/// Reaches the canary as a pod would: one that answers nobody proves nothing.
pub(crate) async fn prove(address: SocketAddr, findings: &Findings) {
    match timeout(ATTEMPT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => findings.canary_answers(),
        failed => tracing::warn!(
            %address, ?failed,
            "the canary does not answer this manager itself; script pods prove nothing by not reaching it"
        ),
    }
}
