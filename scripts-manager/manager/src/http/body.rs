//! Request bodies: read and parsed within a budget of bytes, whoever sends them and however many.

use std::time::Duration;

use axum::{body::HttpBody, extract::Request};
use futures::StreamExt;
use rockbot_scripts_api::{MAX_INPUT_BYTES, MAX_SCRIPT_BYTES, ScriptError, ScriptErrorCode, ScriptRequest};
use sha2::{Digest, Sha256};
use tokio::{task::spawn_blocking, time::timeout};

use super::memory::{Memory, Share};

/// Longest body: the longest script and input, each byte escaped as `\u0000`, and room for the rest.
const MAX_BODY: usize = 6 * (MAX_SCRIPT_BYTES + MAX_INPUT_BYTES) + (256 << 10);
/// Everybody can have such a one understood.
const _: () = assert!(MAX_BODY <= Memory::SHARE);
/// Longest time in which a body must be here.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// A longer body is not parsed between two scripts' messages.
const LARGE: usize = 256 << 10;

/// A valid request for a script.
#[derive(Debug)]
pub(super) struct Incoming {
    pub request: ScriptRequest,
    /// Tells this body from any other.
    pub fingerprint: [u8; 32],
    /// The memory of its script and input.
    pub share: Share,
}

/// Reads the request for a script that `request` carries.
pub(super) async fn read(request: Request, share: Share) -> Result<Incoming, ScriptError> {
    let late = |_| ScriptError::invalid(format!("the body did not come within {BODY_DEADLINE:?}"));
    let collecting = collect(request, share);
    let (body, share) = timeout(BODY_DEADLINE, collecting).await.map_err(late)??;
    if body.len() < LARGE {
        return understand(&body, share);
    }
    let understood = spawn_blocking(move || understand(&body, share)).await;
    understood.unwrap_or_else(|error| Err(ScriptError::new(ScriptErrorCode::Internal, error.to_string())))
}

async fn collect(request: Request, mut share: Share) -> Result<(Vec<u8>, Share), ScriptError> {
    let too_long = || {
        ScriptError::invalid(format!(
            "the body is longer than {MAX_BODY} bytes, which no script needs"
        ))
    };
    let body = request.into_body();
    let announced = body.size_hint().exact().map(usize::try_from);
    let announced = announced.transpose().map_err(|_| too_long())?.unwrap_or_default();
    if announced > MAX_BODY {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(announced.min(LARGE));
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| ScriptError::invalid(format!("the body cannot be read: {error}")))?;
        if bytes.len() + piece.len() > MAX_BODY {
            return Err(too_long());
        }
        if !share.grow(piece.len()) {
            let message = "too many large scripts and inputs are here at once; try again in a moment";
            return Err(ScriptError::new(ScriptErrorCode::Overloaded, message).retryable(Some(2)));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, share))
}

fn understand(body: &[u8], mut share: Share) -> Result<Incoming, ScriptError> {
    let request = ScriptRequest::from_body(body)?;
    // The body itself is let go.
    share.shrink_to(request.script.len() + request.input_text().map_or(0, |text| text.len()));
    Ok(Incoming {
        request,
        fingerprint: Sha256::digest(body).into(),
        share,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use serde_json::json;

    use super::*;
    use crate::tests::caller;

    fn request(body: impl Into<Body>) -> Request {
        Request::new(body.into())
    }

    fn share(memory: &Arc<Memory>, agent: &str) -> Share {
        memory.share(&caller(agent))
    }

    #[tokio::test]
    async fn the_longest_script_and_input_fit_however_they_are_escaped() {
        let memory = Arc::new(Memory::default());
        let escaped = |bytes: usize| "\\u0001".repeat(bytes);
        let body = format!(
            r#"{{"script":"{}","input_data":"{}"}}"#,
            escaped(MAX_SCRIPT_BYTES),
            escaped(MAX_INPUT_BYTES)
        );
        let incoming = read(request(body), share(&memory, "a")).await.unwrap();
        assert_eq!(incoming.request.script.len(), MAX_SCRIPT_BYTES);
        let left = Memory::SHARE - MAX_SCRIPT_BYTES - MAX_INPUT_BYTES;
        let mut rest = share(&memory, "a");
        assert!(rest.grow(left) && !rest.grow(1));
        drop(incoming);
        assert!(rest.grow(Memory::SHARE - left));
    }

    #[tokio::test]
    async fn bodies_take_no_more_memory_than_there_is() {
        let memory = Arc::new(Memory::of(200_000));
        let too_long = request(vec![b' '; MAX_BODY + 1]);
        let error = read(too_long, share(&memory, "a")).await.unwrap_err();
        assert_eq!(error.code, ScriptErrorCode::InvalidRequest);
        let script = json!({ "script": "x".repeat(10_000), "input_data": "y".repeat(20_000) }).to_string();
        let mut held = Vec::new();
        let refused = loop {
            match read(request(script.clone()), share(&memory, "a")).await {
                Ok(incoming) => held.push(incoming),
                Err(error) => break error,
            }
        };
        assert!(
            refused.code == ScriptErrorCode::Overloaded && refused.retryable,
            "{refused}"
        );
        assert_eq!(held.len(), 3);
        let small = request(r#"{"script":"small"}"#);
        assert!(read(small, share(&memory, "a")).await.is_ok(), "small ones still pass");
        let of_another = request(script);
        assert!(read(of_another, share(&memory, "b")).await.is_ok(), "others have room");
    }
}
