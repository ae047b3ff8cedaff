//! Every error that a client sees: OpenAI's error object, and never a text from inside.

use axum::{
    Json,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use rockbot_agent::{
    TurnError,
    skills::{HookFailure, Stopped},
    turn::InvalidRequest,
};
use rockbot_llm::{ModelError, ModelErrorKind};
use serde_json::{Value, json};

/// Tells OpenAI's SDKs not to send a request again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Of the response to a request that nothing else tells the log of: the code of its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

/// An error response.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) code: &'static str,
    pub(crate) retry_after_seconds: Option<u64>,
    pub(crate) may_retry: bool,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code,
            retry_after_seconds: None,
            may_retry: true,
        }
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "internal server error; the log has the details",
        )
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// After a tool has run, sending the request again would run it again.
    pub(crate) fn final_if(mut self, tools_ran: bool) -> Self {
        self.may_retry &= !tools_ran;
        self
    }

    /// The error object, with all four keys.
    pub(crate) fn body(&self) -> Value {
        let kind = if self.status.is_client_error() {
            "http_error"
        } else {
            "server_error"
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.code } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        response.extensions_mut().insert(Refused(self.code));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if !self.may_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<InvalidRequest> for ApiError {
    fn from(error: InvalidRequest) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_value", error.to_string()).param(error.param)
    }
}

impl From<TurnError> for ApiError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Model(error) => error.into(),
            TurnError::Timeout(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string()),
            TurnError::Stopped(stopped) => stopped.into(),
        }
    }
}

impl From<Stopped> for ApiError {
    fn from(stopped: Stopped) -> Self {
        let (status, code) = match stopped.failure {
            HookFailure::Refused(_) => (StatusCode::FORBIDDEN, "refused_by_hook"),
            HookFailure::Failed(_) => (StatusCode::BAD_GATEWAY, "hook_failed"),
        };
        Self {
            may_retry: false,
            ..Self::new(status, code, stopped.to_string())
        }
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        use ModelErrorKind as Kind;
        // A wrong key or URL stays wrong, and the agent has already asked again where that could help.
        let (status, code, may_retry) = match error.kind {
            Kind::Configuration => (StatusCode::INTERNAL_SERVER_ERROR, "model_misconfigured", false),
            Kind::Authentication => (StatusCode::BAD_GATEWAY, "model_authentication", false),
            Kind::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_value", false),
            Kind::ContextOverflow => (StatusCode::BAD_REQUEST, "context_length_exceeded", false),
            Kind::ContentFilter => (StatusCode::BAD_REQUEST, "content_filter", false),
            Kind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", true),
            Kind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "model_overloaded", true),
            Kind::Unreachable => (StatusCode::BAD_GATEWAY, "model_unreachable", true),
            Kind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "model_timeout", true),
            Kind::CutStream => (StatusCode::BAD_GATEWAY, "model_stream_cut", true),
            Kind::BadResponse => (StatusCode::BAD_GATEWAY, "model_bad_response", true),
        };
        let message = match error.kind {
            // It names files and URLs; the log has it.
            Kind::Configuration => "the agent's model is not configured correctly; its log has the details".to_owned(),
            _ => error.message,
        };
        let retry_after_seconds = error.retry_after.map(|after| after.as_secs_f64().ceil() as u64);
        // Clients that are told nothing come back at once.
        let retry_after_seconds = retry_after_seconds.or((error.kind == Kind::RateLimited).then_some(1));
        Self {
            retry_after_seconds,
            may_retry,
            ..Self::new(status, code, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_429_always_says_when_to_come_back() {
        let refused = |retry_after| {
            let error = ModelError {
                retry_after,
                ..ModelError::new(ModelErrorKind::RateLimited, "slow down")
            };
            let response = ApiError::from(error).into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            response.headers()[RETRY_AFTER].clone()
        };
        assert_eq!(refused(None), "1");
        assert_eq!(refused(Some(Duration::from_millis(1500))), "2");
    }
}
