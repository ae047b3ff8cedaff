//! S2: an agent that is told to stop takes no new requests and ends the answers that it has begun.

use rockbot_fakes::Step;
use tokio::{net::TcpStream, time::timeout};

use crate::agent::{Agent, PATIENCE};

#[tokio::test]
async fn a_stream_comes_to_its_end_while_new_requests_are_refused() {
    let words = Step {
        pause_ms: 200,
        ..Step::say(format!("{}end", "word ".repeat(60)))
    };
    let agent = Agent::scripted([words], &[]).await;
    let mut answer = agent.request().send().await.unwrap();
    let mut text = answer.chunk().await.unwrap().unwrap().to_vec();
    agent.terminate().await;
    let refused = async { while TcpStream::connect(agent.address()).await.is_ok() {} };
    timeout(PATIENCE, refused).await.unwrap();
    while let Some(piece) = answer.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\"end\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(text.matches("word").count(), 60);
    agent.ended().await;
}
