//! Tests of the adapter: recorded streams, bytes that arrive cut anywhere, refusals, retries and keys.

use std::path::{Path, PathBuf};

use futures::{FutureExt, StreamExt, stream};
use reqwest::StatusCode;
use serde_json::json;

use super::{events::decode, refusal::Refusal, *};
use crate::{Event, ModelErrorKind as Kind};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut streams: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sse"))
        .collect();
    streams.sort();
    assert!(streams.len() > 2, "{streams:?}");
    streams
}

/// What `pieces` decode to. Nothing waits, so that one poll tells.
fn decoded(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<Result<Event, ModelError>> {
    let pieces: Vec<_> = pieces.into_iter().map(|piece| Ok(Bytes::from(piece))).collect();
    decode(stream::iter(pieces)).collect().now_or_never().unwrap()
}

/// Set UPDATE=1 to write what is there now.
#[test]
fn recorded_streams_decode_as_before() {
    for path in fixtures() {
        let events = decoded([std::fs::read(&path).unwrap()]);
        let lines: String = events.iter().map(|event| format!("{event:?}\n")).collect();
        let golden = path.with_extension("events");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &lines).unwrap();
        }
        assert_eq!(lines, std::fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
}

#[test]
fn bytes_decode_the_same_wherever_they_are_cut() {
    for path in fixtures() {
        let bytes = std::fs::read(path).unwrap();
        let whole = decoded([bytes.clone()]);
        for size in 1..=64 {
            assert_eq!(
                decoded(bytes.chunks(size).map(<[u8]>::to_vec)),
                whole,
                "pieces of {size} bytes"
            );
        }
        for cut in 0..bytes.len() {
            assert_eq!(
                decoded([bytes[..cut].to_vec(), bytes[cut..].to_vec()]),
                whole,
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_stream_that_ends_early_or_carries_nonsense_says_so() {
    let start = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let cases = [
        (start.to_owned(), Kind::CutStream),
        (format!("{start}data: [DONE]\n\n"), Kind::CutStream),
        (format!("{start}data: {{\"choi"), Kind::CutStream),
        (format!("{start}data: {{\"choi\n\n"), Kind::BadResponse),
        (format!("{start}data: <html>\n\n"), Kind::BadResponse),
        (
            format!("{start}data: {{\"error\":{{\"message\":\"m\",\"code\":429}}}}\n\n"),
            Kind::RateLimited,
        ),
        (format!("{start}data: {{\"error\":\"boom\"}}\n\n"), Kind::Overloaded),
        ("<html>a gateway's error page</html>".to_owned(), Kind::CutStream),
    ];
    for (text, kind) in cases {
        let events = decoded([text.clone().into_bytes()]);
        let error = events.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.kind, kind, "{text}");
        assert_eq!(events.iter().filter(|event| event.is_err()).count(), 1, "{text}");
    }
}

#[test]
fn refusals_become_categories() {
    let cases = [
        (
            401,
            json!({ "message": "Incorrect API key provided: sk-12**34", "code": "invalid_api_key" }),
            Kind::Authentication,
        ),
        (403, json!({}), Kind::Authentication),
        (
            404,
            json!({ "message": "The model `x` does not exist", "code": "model_not_found" }),
            Kind::Configuration,
        ),
        (
            400,
            json!({ "message": "too long", "code": "context_length_exceeded" }),
            Kind::ContextOverflow,
        ),
        (400, json!({ "message": "temperature: too hot" }), Kind::InvalidRequest),
        (
            429,
            json!({ "message": "slow down", "code": "rate_limit_exceeded" }),
            Kind::RateLimited,
        ),
        (429, json!({ "code": "insufficient_quota" }), Kind::Authentication),
        (500, json!({}), Kind::Overloaded),
        (503, json!("busy"), Kind::Overloaded),
        (302, json!({}), Kind::BadResponse),
    ];
    for (status, body, kind) in cases {
        let error = refusal::classify(StatusCode::from_u16(status).unwrap(), &Refusal::of(&body));
        assert_eq!(error.kind, kind, "{status} {body}");
        assert!(!error.message.contains("sk-"), "a key in: {}", error.message);
    }
}

#[test]
fn only_what_may_pass_is_asked_again_and_never_for_long() {
    let after = |kind, retry_after: Option<u64>| ModelError {
        retry_after: retry_after.map(Duration::from_secs),
        ..ModelError::new(kind, "")
    };
    let milliseconds = Duration::from_millis;
    let cases = [
        (after(Kind::Overloaded, None), 1, 0.0, Some(milliseconds(125))),
        (after(Kind::Overloaded, None), 1, 1.0, Some(milliseconds(250))),
        (after(Kind::Unreachable, None), 2, 1.0, Some(milliseconds(500))),
        (after(Kind::RateLimited, Some(2)), 1, 1.0, Some(milliseconds(2250))),
        (after(Kind::RateLimited, Some(60)), 1, 0.0, None),
        (after(Kind::Overloaded, None), 3, 0.0, None),
        (after(Kind::Authentication, None), 1, 0.0, None),
        (after(Kind::InvalidRequest, None), 1, 0.0, None),
        (after(Kind::Timeout, None), 1, 0.0, None),
    ];
    for (error, attempt, dice, expected) in cases {
        assert_eq!(pause(&error, attempt, dice), expected, "{error:?}, attempt {attempt}");
    }
}

#[test]
fn the_endpoint_keeps_what_a_base_url_carries() {
    let cases = [
        (
            "https://api.openai.com/v1",
            "https://api.openai.com/v1/chat/completions",
        ),
        ("http://ollama:11434/v1/", "http://ollama:11434/v1/chat/completions"),
        (
            "https://x.test/a?api-version=2",
            "https://x.test/a/chat/completions?api-version=2",
        ),
    ];
    for (base, expected) in cases {
        assert_eq!(endpoint(base).unwrap().as_str(), expected);
    }
    for base in ["", "api.openai.com/v1", "ftp://x.test", "mailto:x"] {
        assert!(endpoint(base).unwrap_err().message.contains("baseUrl"), "{base}");
    }
}
