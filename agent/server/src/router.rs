//! Every route of the server. Fixed routes win over an agent of the same name.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rockbot_llm::chat::ChatRequest;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    Server, ask,
    error::ApiError,
    info, limits, request,
    responses::{self, ResponsesRequest},
};

/// All routes of an agent server.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(info::root))
        .route("/health", get(info::health))
        .route("/health/detailed", get(info::health_detailed))
        .route("/ready", get(info::ready))
        .route("/live", get(info::live))
        .route("/metrics", get(info::metrics))
        .route("/v1/models", get(info::models))
        .route("/v1/models/{id}", get(info::model))
        .route("/v1/chat/completions", post(ask::by_model::<ChatRequest>))
        .route("/v1/chat/completions/", post(ask::by_model::<ChatRequest>))
        .route("/v1/responses", post(ask::by_model::<ResponsesRequest>))
        .route("/v1/responses/", post(ask::by_model::<ResponsesRequest>))
        .route("/v1/responses/{id}", get(responses::get).delete(responses::delete))
        .route("/v1/responses/{id}/input_items", get(responses::input_items))
        .route("/{agent}", get(info::agent))
        .route("/{agent}/", get(info::agent))
        .route("/{agent}/chat/completions", post(ask::by_path::<ChatRequest>))
        .route("/{agent}/chat/completions/", post(ask::by_path::<ChatRequest>))
        .route("/{agent}/responses", post(ask::by_path::<ResponsesRequest>))
        .route("/{agent}/responses/", post(ask::by_path::<ResponsesRequest>))
        .route(
            "/{agent}/responses/{id}",
            get(responses::get_at).delete(responses::delete_at),
        )
        .route("/{agent}/responses/{id}/input_items", get(responses::input_items_at))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(limits::headers))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request::identify))
        .with_state(server)
}

async fn no_route(uri: Uri) -> ApiError {
    let message = format!("there is nothing at {}; GET / lists the endpoints", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "{} does not answer to {method}; GET / lists the endpoints; chat completions and responses are asked with POST",
        uri.path()
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// A panic costs its own request and no other; what it said goes to the log alone.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!("a request panicked: {}", said.unwrap_or("without words"));
    ApiError::internal().into_response()
}
