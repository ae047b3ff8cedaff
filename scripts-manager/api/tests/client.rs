//! The client against a scripted server on loopback: answers that are whole, streamed, refused and cut anywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::VecDeque, io::Write, net::SocketAddr, time::Duration};

use rockbot_scripts_api::{
    Client, ClientSettings, OutputChunk, OutputStream, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult,
    ScriptRunner,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

const RESULT: &str = r#"{"stdout":"out\n","stderr":"","exit_code":0,"duration_ms":1,"timed_out":false,"truncated":false,"script_id":"pod"}"#;

/// What a connection gets back before it is closed; nothing when it is closed at once.
type Answer = String;

/// What a client sent: its head in lower case, and its body.
type Asked = (String, Value);

/// Serves one connection per answer, and then says what it was asked.
async fn server(answers: Vec<Answer>) -> (SocketAddr, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let (mut answers, mut asked) = (VecDeque::from(answers), Vec::new());
        while let Some(answer) = answers.pop_front() {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, body) = loop {
                connection.read_buf(&mut bytes).await.unwrap();
                let text = String::from_utf8(bytes.clone()).unwrap();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    break (head.to_lowercase(), body);
                }
            };
            asked.push((head, body));
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    };
    (address, tokio::spawn(serve))
}

fn whole(status: &str, body: &str) -> Answer {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Ends with the connection; a proper end would be a chunk of no length.
fn events(text: &str) -> Answer {
    let length = text.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n"
    )
}

fn refused(code: &str, retryable: bool) -> String {
    json!({ "error": { "code": code, "message": "words", "retryable": retryable } }).to_string()
}

fn client(address: SocketAddr) -> (Client, NamedTempFile) {
    let mut token_file = NamedTempFile::new().unwrap();
    token_file.write_all(b"a-token\n").unwrap();
    let settings = ClientSettings {
        url: format!("http://{address}").parse().unwrap(),
        token_file: token_file.path().to_owned(),
    };
    (Client::new(settings).unwrap(), token_file)
}

fn script() -> ScriptRequest {
    ScriptRequest {
        script: "print(1)".to_owned(),
        timeout_seconds: 7,
        pip_packages: vec!["numpy".to_owned()],
        ..ScriptRequest::default()
    }
}

async fn run(answers: Vec<Answer>) -> (Result<ScriptResult, ScriptError>, Vec<Asked>) {
    let (address, asked) = server(answers).await;
    let (client, _token) = client(address);
    let result = client.run(script()).await;
    let asked = timeout(Duration::from_secs(5), asked).await;
    (result, asked.expect("every answer is asked for").unwrap())
}

async fn stream(answers: Vec<Answer>) -> (Result<ScriptResult, ScriptError>, Vec<(OutputStream, String)>) {
    let (address, _asked) = server(answers).await;
    let (client, _token) = client(address);
    let (output, mut chunks) = mpsc::channel(16);
    let result = client.run_streaming(script(), output).await;
    let mut heard = Vec::new();
    while let Some(OutputChunk { stream, text }) = chunks.recv().await {
        heard.push((stream, text));
    }
    (result, heard)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn t16_a_request_says_who_asks_and_for_which_run() {
    let (result, asked) = run(vec![whole("200 OK", RESULT)]).await;
    assert_eq!(result.unwrap().stdout, "out\n");
    let (head, body) = &asked[0];
    assert!(head.starts_with("post /v1/scripts "), "{head}");
    assert_eq!(header(head, "authorization"), Some("bearer a-token"));
    assert_eq!(header(head, "accept"), Some("application/json"));
    assert!(
        header(head, "idempotency-key").is_some_and(|key| key.len() == 36),
        "{head}"
    );
    let expected = json!({ "script": "print(1)", "timeout_seconds": 7, "pip_packages": ["numpy"] });
    assert_eq!(*body, expected);
}

#[tokio::test]
async fn t16_a_broken_connection_is_tried_once_more_with_the_same_key() {
    for broken in ["", "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"stdout\""] {
        let (result, asked) = run(vec![broken.to_owned(), whole("200 OK", RESULT)]).await;
        assert_eq!(result.unwrap().script_id, "pod");
        let keys: Vec<_> = asked.iter().map(|(head, _)| header(head, "idempotency-key")).collect();
        assert_eq!(keys[0], keys[1]);
        assert!(keys[0].is_some());
    }
    let (result, _) = run(vec![String::new(), String::new()]).await;
    let error = result.unwrap_err();
    assert_eq!((error.code, error.retryable), (ScriptErrorCode::SandboxLost, false));
    // The first attempt may have run the script, whatever is said of the second.
    let (result, _) = run(vec![String::new(), whole("429 Too Many", &refused("overloaded", true))]).await;
    let error = result.unwrap_err();
    assert_eq!((error.code, error.retryable), (ScriptErrorCode::SandboxLost, false));
}

#[tokio::test]
async fn t18_a_result_that_there_was_no_room_for_is_asked_for_again_with_the_same_key() {
    let unread = || whole("503 No", &refused("result_unread", true));
    let busy = whole("429 Too Many", &refused("overloaded", true));
    let (result, asked) = run(vec![unread(), busy.clone(), whole("200 OK", RESULT)]).await;
    assert_eq!(result.unwrap().stdout, "out\n");
    let keys: Vec<_> = asked.iter().map(|(head, _)| header(head, "idempotency-key")).collect();
    assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    // The script has run, whatever is said at last: whoever made a new request of it would run it twice.
    let never = |last| run(vec![unread(), unread(), last]);
    let (one, other) = tokio::join!(never(unread()), never(busy));
    for (result, _) in [one, other] {
        let error = result.unwrap_err();
        assert_eq!((error.code, error.retryable), (ScriptErrorCode::ResultUnread, false));
        assert!(error.message.contains("has run"), "{error}");
    }
}

#[tokio::test]
async fn t18_a_stream_that_ends_without_room_for_its_result_is_not_told_twice() {
    let error = refused("result_unread", true);
    let cut = events(&format!(
        "event: stdout\ndata: {{\"text\":\"out\"}}\n\nevent: error\ndata: {error}\n\n"
    ));
    let (result, heard) = stream(vec![cut, whole("200 OK", RESULT)]).await;
    assert_eq!(result.unwrap().stdout, "out\n");
    assert_eq!(heard, [(OutputStream::Stdout, "out".to_owned())]);
}

#[tokio::test]
async fn t16_a_refusal_is_told_as_the_manager_told_it() {
    let cases = [
        (
            whole("429 Too Many", &refused("overloaded", true)).replace("connection", "retry-after: 4\r\nconnection"),
            ScriptErrorCode::Overloaded,
            true,
            Some(4),
            "words",
        ),
        (
            whole("422 No", &refused("packages_refused", false)),
            ScriptErrorCode::PackagesRefused,
            false,
            None,
            "words",
        ),
        (
            whole("503 No", &refused("package_index_unavailable", true)),
            ScriptErrorCode::PackageIndexUnavailable,
            true,
            None,
            "words",
        ),
        (
            whole("502 No", &refused("sandbox_lost", false)),
            ScriptErrorCode::SandboxLost,
            false,
            None,
            "words",
        ),
        (
            whole("403 No", "<html>"),
            ScriptErrorCode::Forbidden,
            false,
            None,
            "answered 403",
        ),
        (
            whole("500 No", &refused("something_new", true)),
            ScriptErrorCode::Internal,
            false,
            None,
            "answered 500",
        ),
        (
            whole("200 OK", "[]"),
            ScriptErrorCode::Internal,
            false,
            None,
            "an answer that is none",
        ),
    ];
    for (answer, code, retryable, after, words) in cases {
        let error = run(vec![answer]).await.0.unwrap_err();
        assert_eq!(
            (error.code, error.retryable, error.retry_after_seconds),
            (code, retryable, after),
            "{error}"
        );
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn t16_nobody_at_home_is_certain_not_to_have_run_it() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (client, _token) = client(address);
    let error = client.run(script()).await.unwrap_err();
    assert_eq!(
        (error.code, error.retryable),
        (ScriptErrorCode::SandboxUnavailable, true)
    );
}

#[tokio::test]
async fn t16_output_comes_while_the_script_runs_and_the_result_after_it() {
    let text = format!(
        ": hello\n\nevent: stdout\ndata: {{\"text\":\"a\\n\"}}\n\nevent: news\ndata: 1\n\nevent: stderr\ndata: {{\"text\":\"b\"}}\n\n\
         event: result\ndata: {RESULT}\n\n"
    );
    let (result, heard) = stream(vec![events(&text)]).await;
    assert_eq!(result.unwrap().stdout, "out\n");
    let expected = [
        (OutputStream::Stdout, "a\n".to_owned()),
        (OutputStream::Stderr, "b".to_owned()),
    ];
    assert_eq!(heard, expected);

    let (result, _) = stream(vec![String::new(), events(&text)]).await;
    assert!(
        result.is_ok(),
        "before its first byte an answer may be asked for again: {result:?}"
    );
}

#[tokio::test]
async fn t16_output_is_not_held_back_until_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, _token) = client(listener.local_addr().unwrap());
    let (output, mut chunks) = mpsc::channel(16);
    let run = tokio::spawn(async move { client.run_streaming(script(), output).await });
    let (mut connection, _) = listener.accept().await.unwrap();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let first = format!("{head}event: stdout\ndata: {{\"text\":\"a\"}}\n\n");
    connection.write_all(first.as_bytes()).await.unwrap();
    let heard = timeout(Duration::from_secs(5), chunks.recv()).await.unwrap();
    assert_eq!(heard.unwrap().text, "a");
    let rest = format!("event: result\ndata: {RESULT}\n\n");
    connection.write_all(rest.as_bytes()).await.unwrap();
    assert!(run.await.unwrap().is_ok());
}

#[tokio::test]
async fn t16_a_streamed_answer_that_is_cut_or_refused_says_so() {
    let chunk = "event: stdout\ndata: {\"text\":\"a\"}\n\n";
    let error = refused("sandbox_lost", false);
    let cases = [
        (events(chunk), ScriptErrorCode::SandboxLost, 1),
        (events(chunk) + "0\r\n\r\n", ScriptErrorCode::SandboxLost, 1),
        (
            events(&format!("{chunk}event: result\ndata: {RESULT}\n")),
            ScriptErrorCode::SandboxLost,
            1,
        ),
        (
            events(&format!("{chunk}event: error\ndata: {error}\n\n")),
            ScriptErrorCode::SandboxLost,
            1,
        ),
        (
            events("event: stdout\ndata: nonsense\n\n"),
            ScriptErrorCode::Internal,
            0,
        ),
        (
            whole("429 Too Many", &refused("overloaded", true)),
            ScriptErrorCode::Overloaded,
            0,
        ),
    ];
    for (answer, code, chunks) in cases {
        let (result, heard) = stream(vec![answer.clone()]).await;
        assert_eq!((result.unwrap_err().code, heard.len()), (code, chunks), "{answer}");
    }
}

#[tokio::test]
async fn t16_an_answer_without_end_is_not_kept() {
    let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(33 << 20));
    let (address, asked) = server(vec![endless]).await;
    let (client, _token) = client(address);
    let (output, _chunks) = mpsc::channel(16);
    let error = client.run_streaming(script(), output).await.unwrap_err();
    assert!(error.message.contains("longer than"), "{error}");
    asked.abort();
}

#[tokio::test]
async fn t16_an_answer_has_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, _token) = client(listener.local_addr().unwrap());
    let run = tokio::spawn(async move { client.run(script()).await });
    let _silent = listener.accept().await.unwrap();
    // With nothing else to do, the clock jumps to the deadline.
    tokio::time::pause();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!((error.code, error.retryable), (ScriptErrorCode::SandboxLost, false));
    assert!(error.message.contains("no answer within 217s"), "{error}");
}
