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
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);
/// Longest attempt of this manager to reach itself.
const ATTEMPT: Duration = Duration::from_secs(1);

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
