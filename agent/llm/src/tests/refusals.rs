//! What providers answer instead of a stream, and the categories that it becomes.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::wire;
use crate::{ModelError, ModelErrorKind as Kind};

fn error(provider: &str, status: u16, body: &Value) -> ModelError {
    let refusal = wire(provider, json!({})).refusal(body);
    refusal.into_error(Some(StatusCode::from_u16(status).unwrap()))
}

fn are_categories(provider: &str, cases: impl IntoIterator<Item = (u16, Value, Kind)>) {
    for (status, body, kind) in cases {
        let error = error(provider, status, &body);
        assert_eq!(error.kind, kind, "{provider} {status} {body}");
        assert!(!error.message.contains("sk-"), "a key in: {}", error.message);
        assert!(!error.message.is_empty());
    }
}

#[test]
fn openai_refuses() {
    let openai = |fields: Value| json!({ "error": fields });
    let cases = [
        (
            401,
            openai(json!({ "message": "Incorrect API key provided: sk-12**34", "code": "invalid_api_key" })),
            Kind::Authentication,
        ),
        (403, Value::Null, Kind::Authentication),
        (
            404,
            openai(json!({ "message": "The model `x` does not exist", "code": "model_not_found" })),
            Kind::Configuration,
        ),
        (
            400,
            openai(json!({ "message": "too long", "code": "context_length_exceeded" })),
            Kind::ContextOverflow,
        ),
        (
            400,
            json!({ "object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400 }),
            Kind::ContextOverflow,
        ),
        (
            400,
            openai(json!({ "type": "exceed_context_size_error", "message": "the request exceeds" })),
            Kind::ContextOverflow,
        ),
        (
            400,
            openai(json!({ "code": "content_filter", "innererror": { "code": "ResponsibleAIPolicyViolation" } })),
            Kind::ContentFilter,
        ),
        (
            400,
            openai(json!({ "message": "temperature: too hot" })),
            Kind::InvalidRequest,
        ),
        (
            402,
            openai(json!({ "message": "Insufficient credits" })),
            Kind::Authentication,
        ),
        (
            429,
            openai(json!({ "message": "slow down", "code": "rate_limit_exceeded" })),
            Kind::RateLimited,
        ),
        (
            429,
            openai(json!({ "code": "insufficient_quota" })),
            Kind::Authentication,
        ),
        (404, json!({ "error": "model 'x' not found" }), Kind::Configuration),
        (
            403,
            openai(json!({
                "code": 403, "message": "m requires moderation. Your input was flagged.",
                "metadata": { "reasons": ["harassment"], "flagged_input": "you", "provider_name": "OpenAI" },
            })),
            Kind::ContentFilter,
        ),
        (
            403,
            openai(json!({ "code": 403, "message": "Key limit exceeded", "metadata": null })),
            Kind::Authentication,
        ),
        (500, Value::Null, Kind::Overloaded),
        (503, openai(json!("busy")), Kind::Overloaded),
        (302, Value::Null, Kind::BadResponse),
    ];
    are_categories("OpenAI", cases);
}

#[test]
fn anthropic_refuses() {
    let anthropic =
        |kind: &str, message: &str| json!({ "type": "error", "error": { "type": kind, "message": message } });
    let cases = [
        (
            401,
            anthropic("authentication_error", "invalid x-api-key"),
            Kind::Authentication,
        ),
        (404, anthropic("not_found_error", "model: x"), Kind::Configuration),
        (
            400,
            anthropic(
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum",
            ),
            Kind::ContextOverflow,
        ),
        (
            400,
            anthropic("invalid_request_error", "max_tokens: Field required"),
            Kind::InvalidRequest,
        ),
        (
            400,
            anthropic(
                "invalid_request_error",
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade.",
            ),
            Kind::Authentication,
        ),
        (
            400,
            anthropic(
                "invalid_request_error",
                "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
            ),
            Kind::Authentication,
        ),
        (
            413,
            anthropic("request_too_large", "Request exceeds the maximum size"),
            Kind::ContextOverflow,
        ),
        (429, anthropic("rate_limit_error", "slow down"), Kind::RateLimited),
        (529, anthropic("overloaded_error", "Overloaded"), Kind::Overloaded),
    ];
    are_categories("Anthropic", cases);
}

#[test]
fn gemini_refuses() {
    let gemini = |status: &str, message: &str| json!({ "error": { "code": 0, "status": status, "message": message } });
    let bad_key = json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid.", "details": [{ "reason": "API_KEY_INVALID" }] } });
    let cases = [
        (400, bad_key, Kind::Authentication),
        (403, gemini("PERMISSION_DENIED", "no"), Kind::Authentication),
        (
            400,
            gemini(
                "INVALID_ARGUMENT",
                "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
            ),
            Kind::ContextOverflow,
        ),
        (400, gemini("INVALID_ARGUMENT", "Unknown name"), Kind::InvalidRequest),
        (
            400,
            gemini("FAILED_PRECONDITION", "User location is not supported for the API use."),
            Kind::Authentication,
        ),
        (
            400,
            gemini(
                "FAILED_PRECONDITION",
                "The File abc is not in an ACTIVE state and usage is not allowed.",
            ),
            Kind::InvalidRequest,
        ),
        (429, gemini("RESOURCE_EXHAUSTED", "quota"), Kind::RateLimited),
        (
            503,
            json!([{ "error": { "code": 503, "status": "UNAVAILABLE" } }]),
            Kind::Overloaded,
        ),
    ];
    are_categories("Gemini", cases);
}

#[test]
fn a_provider_may_say_in_its_body_when_to_ask_again() {
    let gemini = json!({ "error": { "status": "RESOURCE_EXHAUSTED", "details": [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s" }] } });
    assert_eq!(
        error("Gemini", 429, &gemini).retry_after,
        Some(Duration::from_millis(34_500))
    );
    let openrouter = json!({ "error": { "code": 429, "metadata": { "retry_after_seconds": 2 } } });
    assert_eq!(
        error("OpenAI", 429, &openrouter).retry_after,
        Some(Duration::from_secs(2))
    );
}
