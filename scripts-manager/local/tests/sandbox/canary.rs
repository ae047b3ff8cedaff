//! The canary: what a supervisor says of an address that it should not reach.

use rockbot_sandbox::{Canary, Hello, SupervisorSettings};
use tokio::net::TcpListener;

use crate::Supervisor;

async fn canary(address: Option<std::net::SocketAddr>, canary_ms: u64) -> Canary {
    let settings = SupervisorSettings {
        canary: address,
        ..SupervisorSettings::default()
    };
    let supervisor = Supervisor::start_with(settings, "", Hello { canary_ms }).await;
    supervisor.conversation.unwrap().ready().canary
}

#[tokio::test]
async fn t17_a_canary_that_gets_through_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(canary(Some(address), 0).await, Canary::Reached);
    let listener_of_six = TcpListener::bind("[::1]:0").await.unwrap();
    assert_eq!(
        canary(Some(listener_of_six.local_addr().unwrap()), 300).await,
        Canary::Reached
    );
    drop(listener);
    assert_eq!(canary(Some(address), 300).await, Canary::Blocked);
    assert_eq!(canary(None, 300).await, Canary::Unknown);
}
