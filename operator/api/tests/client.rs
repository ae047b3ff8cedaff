//! The client against a scripted server on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{io::Write, net::SocketAddr};

use rockbot_operator_api::{AgentSummary, Client, ClientError, ClientSettings};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

const AGENT: &str = r#"{"namespace":"n","name":"b","description":"d","url":"http://b/b","tools":[],"ready":true}"#;

/// Serves one connection per answer, and then says what it was asked, in lower case. An empty answer breaks it off.
async fn server(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                connection.read_buf(&mut head).await.unwrap();
            }
            asked.push(String::from_utf8(head).unwrap().to_lowercase());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    };
    (address, tokio::spawn(serve))
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn client(address: SocketAddr) -> (Client, NamedTempFile) {
    let mut token_file = NamedTempFile::new().unwrap();
    token_file.write_all(b"a-token\n").unwrap();
    let settings = ClientSettings {
        url: format!("http://{address}").parse().unwrap(),
        token_file: token_file.path().to_owned(),
    };
    (Client::new(settings), token_file)
}

async fn ask(answers: Vec<String>) -> (Result<Option<AgentSummary>, ClientError>, Vec<String>) {
    let (address, asked) = server(answers).await;
    let (client, _token) = client(address);
    let found = client.agent("n", "b").await;
    (found, asked.await.unwrap())
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let long = answer("200 OK", &"x".repeat((1 << 20) + 1));
    let error = ask(vec![long; 4]).await.0.unwrap_err().to_string();
    assert!(error.ends_with("its answer is longer than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn d4_an_agent_is_found_by_its_name() {
    let (found, asked) = ask(vec![answer("200 OK", AGENT)]).await;
    assert_eq!(found.unwrap().unwrap().url, "http://b/b");
    assert!(asked[0].starts_with("get /v1/agents/n/b "), "{asked:?}");
    assert!(asked[0].contains("authorization: bearer a-token\r\n"), "{asked:?}");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_stays_is_not() {
    let error = |message: &str| format!(r#"{{"error":{{"code":"c","message":"{message}"}}}}"#);
    let again = vec![String::new(), answer("503 No", "<html>"), answer("200 OK", AGENT)];
    assert!(ask(again).await.0.unwrap().is_some());
    assert_eq!(ask(vec![answer("404 No", &error("no such agent"))]).await.0, Ok(None));
    let refused = ask(vec![answer("403 No", &error("not yours"))]).await.0.unwrap_err();
    let expected = ClientError::Refused {
        status: 403,
        message: "not yours".to_owned(),
    };
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn nobody_at_home_is_said_in_words() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (client, token) = client(address);
    let error = client.agent("n", "b").await.unwrap_err().to_string();
    assert!(error.starts_with("the operator cannot be asked"), "{error}");
    token.close().unwrap();
    let error = client.agent("n", "b").await.unwrap_err().to_string();
    assert!(error.contains("token file"), "{error}");
}
