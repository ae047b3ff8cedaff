//! `tests/fixtures/WIRE/BEHAVIOUR.sse`, as providers document their streams, and the events that each becomes.

use std::task::Poll;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc, executor::block_on, stream};
use serde_json::json;

use super::{WIRES, files, is_golden, wire};
use crate::{Event, ModelError, ModelErrorKind as Kind, remote::Answer};

/// What `pieces` decode to.
fn decoded(provider: &str, pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<Result<Event, ModelError>> {
    let pieces: Vec<_> = pieces.into_iter().map(|piece| Ok(Bytes::from(piece))).collect();
    let decoder = wire(provider, json!({})).decoder();
    block_on(Answer::new(stream::iter(pieces), decoder).collect())
}

#[test]
fn recorded_streams_decode_as_before() {
    for (folder, provider) in WIRES {
        let streams = files(&format!("fixtures/{folder}"), ".sse");
        assert!(streams.len() > 5, "{streams:?}");
        for path in &streams {
            let events = decoded(provider, [std::fs::read(path).unwrap()]);
            let lines: String = events.iter().map(|event| format!("{event:?}\n")).collect();
            is_golden(&path.with_extension("events"), &lines);
        }
        let golden = files(&format!("fixtures/{folder}"), ".events");
        assert_eq!(golden.len(), streams.len(), "a record without its stream in {golden:?}");
    }
}

#[test]
fn bytes_decode_the_same_wherever_they_are_cut() {
    for (folder, provider) in WIRES {
        for path in files(&format!("fixtures/{folder}"), ".sse") {
            let bytes = std::fs::read(&path).unwrap();
            let whole = decoded(provider, [bytes.clone()]);
            for size in 1..=64 {
                let pieces = bytes.chunks(size).map(<[u8]>::to_vec);
                assert_eq!(
                    decoded(provider, pieces),
                    whole,
                    "{}: pieces of {size} bytes",
                    path.display()
                );
            }
            for cut in 0..bytes.len() {
                let pieces = [bytes[..cut].to_vec(), bytes[cut..].to_vec()];
                assert_eq!(decoded(provider, pieces), whole, "{}: cut at {cut}", path.display());
            }
        }
    }
}

/// Every beginning of a stream is one event after the other of the whole, and then an error: nothing else is made up,
/// and an answer that is not complete never looks as if it were.
#[test]
fn a_stream_that_breaks_off_says_so() {
    for (folder, provider) in WIRES {
        for path in files(&format!("fixtures/{folder}"), ".sse") {
            let bytes = std::fs::read(&path).unwrap();
            let whole = decoded(provider, [bytes.clone()]);
            for end in 0..bytes.len() {
                let events = decoded(provider, [bytes[..end].to_vec()]);
                let finished = |events: &[Result<Event, ModelError>]| {
                    events.iter().any(|event| matches!(event, Ok(Event::Finish(_))))
                };
                let said = events.iter().take_while(|event| event.is_ok()).count();
                let usage = |event: &&Result<Event, ModelError>| !matches!(event, Ok(Event::Usage(_)));
                let (some, all) = (events[..said].iter().filter(usage), whole.iter().filter(usage));
                assert!(some.zip(all).all(|(a, b)| a == b), "{}: {end} bytes", path.display());
                assert_eq!(
                    finished(&events),
                    events.last().is_some_and(Result::is_ok),
                    "{}: {end} bytes",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_stream_that_carries_nonsense_says_so() {
    let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let cases = [
        ("OpenAI", format!("{openai}data: [DONE]\n\n"), Kind::CutStream),
        ("OpenAI", format!("{openai}data: {{\"choi\n\n"), Kind::BadResponse),
        ("OpenAI", format!("{openai}data: <html>\n\n"), Kind::BadResponse),
        ("OpenAI", format!("{openai}data: \u{0}\u{1}\n\n"), Kind::BadResponse),
        (
            "OpenAI",
            format!("{openai}data: {{\"error\":\"boom\"}}\n\n"),
            Kind::Overloaded,
        ),
        (
            "OpenAI",
            "<html>a gateway's error page</html>".to_owned(),
            Kind::CutStream,
        ),
        (
            "Anthropic",
            "event: message_start\ndata: {}\n\n".to_owned(),
            Kind::BadResponse,
        ),
        (
            "Anthropic",
            "data: {\"type\":\"message_stop\"}\n\n".to_owned(),
            Kind::CutStream,
        ),
        (
            "Anthropic",
            "data: {\"type\":\"a_new_event\"}\n\n".to_owned(),
            Kind::CutStream,
        ),
        ("Gemini", "data: 7\n\n".to_owned(), Kind::BadResponse),
        ("Gemini", "data: {}\n\n".to_owned(), Kind::CutStream),
    ];
    for (provider, text, kind) in cases {
        let events = decoded(provider, [text.clone().into_bytes()]);
        let error = events.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.kind, kind, "{text}");
        assert_eq!(events.iter().filter(|event| event.is_err()).count(), 1, "{text}");
    }
}

/// A connection's task passes each piece on by itself, and a server that is given nothing for a moment writes what it
/// has: then each word would be a write of its own. This one asks twice before it writes, as hyper does.
#[tokio::test]
async fn what_arrives_together_is_handed_out_together() {
    let words = (0..10).map(|n| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{n}\"}}}}]}}\n\n"));
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned();
    let (mut connection, body) = mpsc::channel(0);
    tokio::spawn(async move {
        for piece in words.chain([end]) {
            connection.send(Ok(Bytes::from(piece))).await.unwrap();
        }
    });
    let mut answer = Answer::new(body, wire("OpenAI", json!({})).decoder());
    let mut writes = vec![0];
    let server = std::future::poll_fn(|context| {
        let mut waited = 0;
        loop {
            match answer.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => {
                    event.unwrap();
                    waited = 0;
                    *writes.last_mut().unwrap() += 1;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if waited > 0 => return Poll::Pending,
                Poll::Pending => {
                    waited += 1;
                    writes.push(0);
                }
            }
        }
    });
    server.await;
    writes.retain(|&events| events > 0);
    assert_eq!(writes, [11]);
}
