//! What a request says: its body, with errors that name the field, and its headers.

use axum::{
    extract::{FromRequestParts, Request, rejection::PathRejection},
    http::{HeaderMap, HeaderName, StatusCode},
    middleware::Next,
    response::Response,
};
use rockbot_agent::{RequestContext, peers::HANDOFFS};
use serde::de::DeserializeOwned;
use tracing::{Instrument, Span, field::Empty, info, info_span};
use uuid::Uuid;

use crate::error::{ApiError, Refused};

/// Identity of a request: taken from the client, or made, and always returned.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Asks for chunks that tell of tools while an answer is streamed.
const TOOL_EVENTS: HeaderName = HeaderName::from_static("x-rockbot-tool-events");
/// Longest value of a header that reaches the log.
const LONGEST: usize = 128;
/// Agents of a chain that are read: more than may be in one.
const LONGEST_CHAIN: usize = 32;

/// Parts of a path, with an error of ours where they are no text.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        let message = format!("the path cannot be read: {}", rejection.body_text());
        Self::new(StatusCode::BAD_REQUEST, "invalid_path", message)
    }
}

/// Reads a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let request = serde_path_to_error::deserialize(&mut json).map_err(invalid)?;
    json.end().map_err(|error| no_json(&error))?;
    Ok(request)
}

fn invalid(error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let path = error.path().to_string();
    let error = error.into_inner();
    if !error.is_data() {
        return no_json(&error);
    }
    let wrong = ApiError::new(StatusCode::BAD_REQUEST, "invalid_value", error.to_string());
    if path == "." {
        wrong
    } else {
        ApiError {
            message: format!("{path}: {error}"),
            ..wrong
        }
        .param(path)
    }
}

fn no_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_json",
        format!("the request body is no JSON: {error}"),
    )
}

/// Gives a request its identity: to whoever answers it, in the log, and in the answer, whatever that is.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let caller = Caller::of(request.headers());
    let id = caller.asked.request_id.parse();
    let span = caller.span();
    request.extensions_mut().insert(caller);
    let answered = async {
        let mut response = next.run(request).await;
        if let Some(Refused(code)) = response.extensions_mut().remove() {
            info!(status = response.status().as_u16(), code, "request refused");
        }
        response
    };
    let mut response = answered.instrument(span).await;
    response.headers_mut().extend(id.map(|id| (REQUEST_ID, id)));
    response
}

/// Who asks, by the headers. They are for the log and for skills and grant nothing: anyone can send them.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) asked: RequestContext,
    pub(crate) wants_tool_events: bool,
}

impl Caller {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
        let request_id = text(&REQUEST_ID).map_or_else(|| Uuid::new_v4().to_string(), short);
        let mut asked = RequestContext::anonymous(request_id);
        for (name, user) in [
            ("x-user-id", &mut asked.user_id),
            ("x-payment-user-id", &mut asked.payment_user_id),
            ("x-origin-user-id", &mut asked.origin_user_id),
            ("x-agent-owner-id", &mut asked.agent_owner_id),
        ] {
            if let Some(value) = text(&HeaderName::from_static(name)) {
                *user = short(value);
            }
        }
        let chain = text(&HeaderName::from_static(HANDOFFS)).unwrap_or_default().split(',');
        let agents = chain.map(str::trim).filter(|name| !name.is_empty());
        asked.handoffs = agents.take(LONGEST_CHAIN).map(short).collect();
        Self {
            asked,
            wants_tool_events: text(&TOOL_EVENTS) == Some("true"),
        }
    }

    /// The span of the request. It lives as long as anything that works for the request.
    pub(crate) fn span(&self) -> Span {
        let RequestContext {
            request_id,
            user_id,
            payment_user_id,
            origin_user_id,
            agent_owner_id,
            ..
        } = &self.asked;
        info_span!(
            "request",
            agent = Empty,
            trace_id = Empty,
            request_id,
            peer = user_id,
            payer = payment_user_id,
            origin = origin_user_id,
            owner = agent_owner_id
        )
    }
}
