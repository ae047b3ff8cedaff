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
/// Headers that are read, so that a request with too many is told how many it may have.
pub(crate) const READ_HEADERS: usize = 4 * MAX_HEADERS;
/// Values in a body: more than any conversation has, and few enough that no other request waits long while one is read.
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

/// How many values `body` has, about.
///
/// # Errors
/// When they are more than are accepted.
pub(crate) fn count_values(body: &[u8]) -> Result<usize, ApiError> {
    let values = values(body);
    if values <= MAX_VALUES {
        return Ok(values);
    }
    let message = format!("the request body has more than {MAX_VALUES} values, the most that is accepted");
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
}

/// How many values JSON has, about: one for each comma and each beginning of a list or an object.
pub(crate) fn values(json: &[u8]) -> usize {
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
        assert_eq!(count_values(text.as_bytes()), Ok(4));
        let many = format!(r#"{{"x":[{}0]}}"#, "0,".repeat(MAX_VALUES));
        assert_eq!(count_values(many.as_bytes()).unwrap_err().code, "body_too_large");
    }
}
