//! Errors as responses.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rockbot_identity::IdentityError;
use rockbot_scripts_api::{ErrorBody, ErrorDetail, ScriptError, ScriptErrorCode};

/// An error as a response.
#[derive(Debug)]
pub(super) struct Refusal {
    error: ScriptError,
    status: StatusCode,
}

impl Refusal {
    /// A key that was used for something else.
    pub(super) fn another_body() -> Self {
        let message = "Idempotency-Key: it was used with another body within the last ten minutes; send the same body to get its \
                       result, or a new key to run another script";
        Self {
            error: ScriptError::invalid(message),
            status: StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<ScriptError> for Refusal {
    fn from(error: ScriptError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { error, status }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error.http_status() {
            401 => ScriptError::new(ScriptErrorCode::Unauthenticated, message),
            403 => ScriptError::new(ScriptErrorCode::Forbidden, message),
            _ => ScriptError::new(ScriptErrorCode::SandboxUnavailable, message).retryable(Some(1)),
        }
        .into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { error, status } = self;
        let mut response = (status, Json(body(&error))).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = error.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The body that tells of an error.
pub(super) fn body(error: &ScriptError) -> ErrorBody {
    ErrorBody {
        error: ErrorDetail {
            code: error.code,
            message: error.message.clone(),
            retryable: error.retryable,
        },
    }
}
