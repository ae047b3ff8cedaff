//! A result that its caller has not read yet: it is remembered how much memory it takes until then.

use std::sync::Arc;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use rockbot_scripts_api::{ScriptError, ScriptErrorCode, ScriptResult};

use super::{memory::Share, refusal::Refusal};
use crate::replay::size_of_result;

/// Seconds after which asking again for a result makes sense.
const RETRY_SECONDS: u64 = 1;

/// A result, and its share of the memory.
#[derive(Debug)]
pub(super) struct Unread {
    pub result: Arc<ScriptResult>,
    pub share: Share,
}

impl Unread {
    /// Sees to it that there is room for a result: twice, as a value and as the JSON that it becomes. One of an `idempotent`
    /// request can be asked for again.
    pub(super) fn new(result: Arc<ScriptResult>, share: Share, idempotent: bool) -> Result<Self, ScriptError> {
        Self::beside(result, 0, share, idempotent)
    }

    /// The same, and room for the output beside it: what came while the script ran may wait for its client, too.
    pub(super) fn streamed(result: Arc<ScriptResult>, share: Share, idempotent: bool) -> Result<Self, ScriptError> {
        let output = result.stdout.len() + result.stderr.len();
        Self::beside(result, output, share, idempotent)
    }

    fn beside(
        result: Arc<ScriptResult>,
        others: usize,
        mut share: Share,
        idempotent: bool,
    ) -> Result<Self, ScriptError> {
        let bytes = size_of_result(&result);
        if share.grow(2 * bytes + others) {
            return Ok(Self { result, share });
        }
        let problem = format!(
            "the script has run, but there is no room for its result of {bytes} bytes: too many others are not read yet"
        );
        if idempotent {
            let message = format!("{problem}; ask again with the same Idempotency-Key to get it");
            return Err(ScriptError::new(ScriptErrorCode::ResultUnread, message).retryable(Some(RETRY_SECONDS)));
        }
        let message = format!("{problem}; it is lost. With an Idempotency-Key it could be asked for again");
        Err(ScriptError::new(ScriptErrorCode::Internal, message))
    }

    /// The whole answer, which has its share until the last byte is written.
    pub(super) fn into_response(self) -> Result<Response, Refusal> {
        let json = serde_json::to_vec(&*self.result)
            .map_err(|error| ScriptError::new(ScriptErrorCode::Internal, error.to_string()))?;
        let answer = Answer {
            json,
            _share: self.share,
        };
        let json = (header::CONTENT_TYPE, "application/json");
        Ok(([json], Body::from(Bytes::from_owner(answer))).into_response())
    }
}

struct Answer {
    json: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::{http::memory::Memory, tests::caller};

    #[tokio::test]
    async fn t16_a_result_takes_its_memory_until_it_is_read() {
        let caller = caller("a");
        let memory = Arc::new(Memory::of(1000));
        let result = Arc::new(ScriptResult {
            stdout: "x".repeat(200),
            ..ScriptResult::default()
        });
        let asked = |idempotent| Unread::new(Arc::clone(&result), memory.share(&caller), idempotent);
        let unread = || asked(false);
        let response = unread().unwrap().into_response().unwrap();
        for (idempotent, code, words) in [
            (false, ScriptErrorCode::Internal, "it is lost"),
            (
                true,
                ScriptErrorCode::ResultUnread,
                "ask again with the same Idempotency-Key",
            ),
        ] {
            let error = asked(idempotent).unwrap_err();
            assert_eq!((error.code, error.retryable), (code, idempotent), "{error}");
            assert!(
                error.message.contains("has run") && error.message.contains(words),
                "{error}"
            );
        }
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let read: ScriptResult = serde_json::from_slice(&body).unwrap();
        assert_eq!(read, *result);
        assert!(unread().is_err(), "the bytes are still here");
        drop(body);
        unread().unwrap();
    }
}
