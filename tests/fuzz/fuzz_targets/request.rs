//! Bodies of `POST /v1/scripts`: what is valid is within its bounds, means the same when it is written again, and fits into
//! the messages to a supervisor.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rockbot_sandbox::{Caps, Message, Run};
use rockbot_scripts_api::{
    MAX_INPUT_BYTES, MAX_PACKAGES, MAX_SCRIPT_BYTES, MAX_TIMEOUT_SECONDS, Requirements, ScriptErrorCode, ScriptRequest,
};

/// Longest message that a supervisor takes.
const MAX_MESSAGE: usize = 8 << 20;

fuzz_target!(|body: &[u8]| {
    let request = match ScriptRequest::from_body(body) {
        Ok(request) => request,
        Err(error) => {
            assert_eq!(error.code, ScriptErrorCode::InvalidRequest);
            return;
        }
    };
    assert!(request.script.len() <= MAX_SCRIPT_BYTES && (1..=MAX_TIMEOUT_SECONDS).contains(&request.timeout_seconds));
    assert!(request.input_text().is_none_or(|text| text.len() <= MAX_INPUT_BYTES));
    packages(&request.pip_packages);

    let again = serde_json::to_vec(&request).map(|body| ScriptRequest::from_body(&body));
    assert!(again.is_ok_and(|again| again == Ok(request.clone())));

    let (run, mut message) = (Run::new(request, Caps::default()), BytesMut::new());
    assert!(Message::Run(&run).encode(&mut message).is_ok() && message.len() <= MAX_MESSAGE);
});

/// Packages that were accepted are few, plain words to pip, and the same when they are read again.
fn packages(entries: &[String]) {
    let Ok(requirements) = Requirements::parse(entries) else {
        return;
    };
    let mut words: Vec<_> = requirements.iter().map(ToString::to_string).collect();
    assert!(
        words.len() <= MAX_PACKAGES && words.iter().all(|word| is_plain(word)),
        "{words:?}"
    );
    words.reverse();
    assert!(
        Requirements::parse(&words).is_ok_and(|again| again == requirements),
        "{words:?}"
    );
}

/// No option, path, URL or marker.
fn is_plain(word: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.[],=!<>~*+".contains(letter);
    word.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && word.chars().all(allowed)
}
