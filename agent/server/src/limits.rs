//! What a request may take before anybody has looked at it: bounds that no client of good will comes near.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::error::ApiError;

/// Headers of a request, and bytes of all their names and values.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 << 10;
/// Bodies up to this size are read whatever is in them.
const MODEST: usize = 1 << 20;
/// Values in a larger body. Each takes many times the memory of the two bytes in which it can be written.
const MAX_VALUES: usize = 200_000;

/// Refuses requests with too many headers, or too large ones.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    match check_headers(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers.len() <= MAX_HEADERS && bytes <= MAX_HEADER_BYTES {
        return Ok(());
    }
    let message = format!(
        "the request has {} headers of {bytes} bytes; at most {MAX_HEADERS} headers of {} KiB in all are accepted",
        headers.len(),
        MAX_HEADER_BYTES >> 10
    );
    Err(ApiError::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        message,
    ))
}

/// Refuses a large body that would become a far larger tree of values.
///
/// # Errors
/// When it has more values than are accepted.
pub(crate) fn check_values(body: &[u8]) -> Result<(), ApiError> {
    if body.len() <= MODEST || values(body) <= MAX_VALUES {
        return Ok(());
    }
    let message = format!("the request body has more than {MAX_VALUES} values, the most that is accepted");
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
}

/// How many values JSON has, about: one for each comma and each beginning of a list or an object.
fn values(json: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = json.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b',' | b'[' | b'{' => count += 1,
            b'"' => skip_text(&mut rest),
            _ => {}
        }
    }
    count
}

fn skip_text(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(rest.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_texts_are_not() {
        assert_eq!(values(br#"{"a":[1,2,{"b":"x, [y] \", {z}"}],"c":null}"#), 6);
        assert_eq!(values(br#""never ends, [ \"#), 0);
    }

    #[test]
    fn a_long_text_passes_and_many_small_values_do_not() {
        let text = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "a, ".repeat(1 << 20)
        );
        check_values(text.as_bytes()).unwrap();
        let many = format!(r#"{{"x":[{}0]}}"#, "0,".repeat(1 << 20));
        assert_eq!(check_values(many.as_bytes()).unwrap_err().code, "body_too_large");
    }
}
