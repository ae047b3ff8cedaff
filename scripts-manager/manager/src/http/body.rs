//! Request bodies: read and parsed within a budget of bytes, whoever sends them and however many.

use std::{sync::Arc, time::Duration};

use axum::{body::HttpBody, extract::Request};
use futures::StreamExt;
use rockbot_scripts_api::{
    DEFAULT_TIMEOUT_SECONDS, MAX_INPUT_BYTES, MAX_PACKAGES, MAX_SCRIPT_BYTES, ScriptError, ScriptErrorCode,
    ScriptRequest,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

/// Longest body: the longest script and input, each byte escaped as `\u0000`, and room for the rest.
const MAX_BODY: usize = 6 * (MAX_SCRIPT_BYTES + MAX_INPUT_BYTES) + (256 << 10);
/// Bytes of all bodies that are here at once, and of what was parsed from them until its script has ended.
const BUDGET: usize = 96 << 20;
/// Longest time in which a body must be here.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Longest `pip_packages`, as JSON.
const MAX_PACKAGES_TEXT: usize = MAX_PACKAGES * 2048;
/// A longer body is not parsed between two scripts' messages.
const LARGE: usize = 256 << 10;

/// Turns to hold bytes.
#[derive(Debug)]
pub(super) struct Bodies {
    budget: Arc<Semaphore>,
}

/// A valid request for a script.
#[derive(Debug)]
pub(super) struct Incoming {
    pub request: ScriptRequest,
    /// Tells this body from any other.
    pub fingerprint: [u8; 32],
    /// Its share of the budget.
    pub memory: OwnedSemaphorePermit,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            budget: Arc::new(Semaphore::new(BUDGET)),
        }
    }
}

impl Bodies {
    /// Reads the request for a script that `request` carries.
    pub(super) async fn read(&self, request: Request) -> Result<Incoming, ScriptError> {
        let late = |_| ScriptError::invalid(format!("the body did not come within {BODY_DEADLINE:?}"));
        let (body, memory) = timeout(BODY_DEADLINE, self.collect(request)).await.map_err(late)??;
        if body.len() < LARGE {
            return understand(&body, memory);
        }
        let understood = spawn_blocking(move || understand(&body, memory)).await;
        understood.unwrap_or_else(|error| Err(ScriptError::new(ScriptErrorCode::Internal, error.to_string())))
    }

    async fn collect(&self, request: Request) -> Result<(Vec<u8>, OwnedSemaphorePermit), ScriptError> {
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
        let mut memory = self.room_for(0)?;
        let mut bytes = Vec::with_capacity(announced.min(LARGE));
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| ScriptError::invalid(format!("the body cannot be read: {error}")))?;
            if bytes.len() + piece.len() > MAX_BODY {
                return Err(too_long());
            }
            memory.merge(self.room_for(piece.len())?);
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes, memory))
    }

    /// Never waits: bodies that are half here would wait for each other.
    fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ScriptError> {
        let full = || {
            let message = "too many large scripts and inputs are here at once; try again in a moment";
            ScriptError::new(ScriptErrorCode::Overloaded, message).retryable(Some(2))
        };
        let permits = u32::try_from(bytes).map_err(|_| full())?;
        Arc::clone(&self.budget)
            .try_acquire_many_owned(permits)
            .map_err(|_| full())
    }
}

fn understand(body: &[u8], mut memory: OwnedSemaphorePermit) -> Result<Incoming, ScriptError> {
    let request = parse(body)?;
    let kept = request.script.len() + request.input_data.as_ref().and_then(Value::as_str).map_or(0, str::len);
    // The body itself is let go.
    drop(memory.split(memory.num_permits().saturating_sub(kept)));
    Ok(Incoming {
        request,
        fingerprint: Sha256::digest(body).into(),
        memory,
    })
}

/// What a body says. Values of any form stay the text that they are: as a tree they would take many times that memory.
fn parse(body: &[u8]) -> Result<ScriptRequest, ScriptError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        script: String,
        #[serde(borrow, default)]
        input_data: Option<&'a RawValue>,
        #[serde(default = "default_timeout")]
        timeout_seconds: u32,
        #[serde(borrow, default)]
        pip_packages: Option<&'a RawValue>,
    }
    fn default_timeout() -> u32 {
        DEFAULT_TIMEOUT_SECONDS
    }
    let wrong = |error: serde_json::Error| ScriptError::invalid(format!("the body: {error}"));
    let body: Body<'_> = serde_json::from_slice(body).map_err(wrong)?;
    let input = match body.input_data.map(RawValue::get) {
        Some(text) if text.starts_with('"') => Some(serde_json::from_str(text).map_err(wrong)?),
        Some("null") | None => None,
        Some(json) => Some(json.to_owned()),
    };
    let packages = match body.pip_packages.map(RawValue::get) {
        Some(text) if text.len() > MAX_PACKAGES_TEXT => {
            let message = format!("pip_packages: too long; at most {MAX_PACKAGES} packages are allowed");
            return Err(ScriptError::invalid(message));
        }
        Some(text) => {
            serde_json::from_str(text).map_err(|error| ScriptError::invalid(format!("pip_packages: {error}")))?
        }
        None => Vec::new(),
    };
    let request = ScriptRequest {
        script: body.script,
        input_data: input.map(Value::String),
        timeout_seconds: body.timeout_seconds,
        pip_packages: packages,
    };
    request.validate()?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use super::*;

    fn request(body: impl Into<Body>) -> Request {
        Request::new(body.into())
    }

    #[test]
    fn input_reaches_the_script_as_the_text_that_was_sent() {
        for (json, expected) in [
            (r#"{"script":"x"}"#, None),
            (r#"{"script":"x","input_data":null}"#, None),
            (r#"{"script":"x","input_data":"a\nb"}"#, Some("a\nb")),
            (
                r#"{"script":"x","input_data":{"b": 1, "a": [true]}}"#,
                Some(r#"{"b": 1, "a": [true]}"#),
            ),
            (
                r#"{"script":"x","input_data":12345678901234567890123}"#,
                Some("12345678901234567890123"),
            ),
        ] {
            assert_eq!(
                parse(json.as_bytes()).unwrap().input_text().as_deref(),
                expected,
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, expected) in [
            ("", "the body"),
            ("[]", "the body"),
            (r#"{"script":"x","scripts":1}"#, "scripts"),
            (r#"{"script":7}"#, "string"),
            (r#"{"script":" "}"#, "script: must not be empty"),
            (r#"{"script":"x","timeout_seconds":0}"#, "timeout_seconds"),
            (r#"{"script":"x","pip_packages":"numpy"}"#, "pip_packages"),
            (r#"{"script":"x","pip_packages":["a b"]}"#, "pip_packages[0]"),
            (r#"{"script":"x","input_data":{"a":}}"#, "the body"),
        ] {
            let error = parse(json.as_bytes()).unwrap_err();
            assert!(
                error.message.contains(expected) && error.code == ScriptErrorCode::InvalidRequest,
                "{json}: {error}"
            );
        }
        let many = json!({ "script": "x", "pip_packages": vec![""; MAX_PACKAGES_TEXT] });
        assert!(
            parse(many.to_string().as_bytes())
                .unwrap_err()
                .message
                .contains("at most")
        );
    }

    #[tokio::test]
    async fn the_longest_script_and_input_fit_however_they_are_escaped() {
        let bodies = Bodies::default();
        let escaped = |bytes: usize| "\\u0001".repeat(bytes);
        let body = format!(
            r#"{{"script":"{}","input_data":"{}"}}"#,
            escaped(MAX_SCRIPT_BYTES),
            escaped(MAX_INPUT_BYTES)
        );
        let incoming = bodies.read(request(body)).await.unwrap();
        assert_eq!(incoming.request.script.len(), MAX_SCRIPT_BYTES);
        assert_eq!(
            bodies.budget.available_permits(),
            BUDGET - MAX_SCRIPT_BYTES - MAX_INPUT_BYTES
        );
        drop(incoming);
        assert_eq!(bodies.budget.available_permits(), BUDGET);
    }

    #[tokio::test]
    async fn bodies_take_no_more_memory_than_there_is() {
        let bodies = Bodies {
            budget: Arc::new(Semaphore::new(100_000)),
        };
        let error = bodies.read(request(vec![b' '; MAX_BODY + 1])).await.unwrap_err();
        assert_eq!(error.code, ScriptErrorCode::InvalidRequest);
        let script = json!({ "script": "x".repeat(10_000), "input_data": "y".repeat(20_000) }).to_string();
        let mut held = Vec::new();
        let refused = loop {
            match bodies.read(request(script.clone())).await {
                Ok(incoming) => held.push(incoming),
                Err(error) => break error,
            }
        };
        assert!(
            refused.code == ScriptErrorCode::Overloaded && refused.retryable,
            "{refused}"
        );
        assert_eq!(held.len(), 3);
        assert!(
            bodies.read(request(r#"{"script":"small"}"#)).await.is_ok(),
            "small ones still pass"
        );
    }
}
