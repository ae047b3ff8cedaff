//! The canary: a port of this manager that script pods try to reach before they wall themselves in. Its own policy lets
//! them in, so that only the wall around the scripts namespace can stop them: whoever arrives shows that there is none.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::Rng;
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
/// Longest attempt of this manager to reach itself, and the wait after a first one that failed; it doubles with each.
const ATTEMPT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

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

/// Reaches the canary as a pod would, until it answers: before that it proves nothing that pods do not.
pub(crate) async fn prove(address: SocketAddr, findings: Arc<Findings>, stop: CancellationToken) {
    let mut wait = ATTEMPT;
    loop {
        match timeout(ATTEMPT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return findings.canary_answers(),
            failed => tracing::warn!(
                %address, ?failed,
                "the canary does not answer this manager itself; script pods prove nothing by not reaching it"
            ),
        }
        tokio::select! {
            () = sleep(wait.mul_f64(rand::rng().random_range(0.8..1.2))) => {}
            () = stop.cancelled() => return,
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t17_a_canary_that_answers_late_is_found() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (findings, stop) = (Arc::new(Findings::default()), CancellationToken::new());
        let proving = tokio::spawn(prove(address, Arc::clone(&findings), stop.clone()));
        sleep(ATTEMPT / 4).await;
        assert!(!findings.now().canary.answers && !proving.is_finished());
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(serve(listener, stop.clone()));
        timeout(Duration::from_secs(20), proving).await.unwrap().unwrap();
        assert!(findings.now().canary.answers);
        stop.cancel();
    }
}
