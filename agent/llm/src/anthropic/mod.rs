//! The wire of Anthropic's Messages.

mod decode;
mod request;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::{
    ModelError,
    chat::ChatRequest,
    refusal::{Meaning, Refusal},
    wire::{self, Decode, Defaults},
};

const ANTHROPIC: &str = "https://api.anthropic.com";
const VERSION: &str = "2023-06-01";
/// Whose reasoning this is; see [`crate::reasoning`].
const FORMAT: &str = "anthropic-claude-v1";
/// How Anthropic says that an account has nothing left, for which it has no code.
const NO_QUOTA: [&str; 2] = ["credit balance is too low", "specified API usage limits"];

/// Messages at one URL.
pub(crate) struct Wire {
    url: Url,
    defaults: Defaults,
}

impl Wire {
    pub(crate) fn new(base: Option<&str>, defaults: Defaults) -> Result<Self, ModelError> {
        let mut url = wire::base_url(base.unwrap_or(ANTHROPIC))?;
        wire::ensure_version(&mut url, "v1");
        wire::append(&mut url, ["messages"]);
        Ok(Self { url, defaults })
    }
}

impl wire::Wire for Wire {
    fn url(&self) -> &Url {
        &self.url
    }

    fn headers(&self) -> HeaderMap {
        let version = HeaderName::from_static("anthropic-version");
        HeaderMap::from_iter([(version, HeaderValue::from_static(VERSION))])
    }

    fn key_header(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn body(&self, request: &ChatRequest) -> Result<Vec<u8>, ModelError> {
        self.defaults.write(request::body(request, &self.defaults)?)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::<decode::Decoder>::default()
    }

    fn refusal(&self, body: &Value) -> Refusal {
        refusal(&body["error"])
    }
}

/// Reads the error object of a body or of an event.
fn refusal(error: &Value) -> Refusal {
    let message = error["message"].as_str().unwrap_or_default();
    let meaning = match error["type"].as_str().unwrap_or_default() {
        // The request is not invalid; there is no money for it, or none that may be spent before next month.
        "invalid_request_error" if NO_QUOTA.iter().any(|words| message.contains(words)) => Some(Meaning::NoQuota),
        "authentication_error" | "permission_error" => Some(Meaning::Authentication),
        "billing_error" => Some(Meaning::NoQuota),
        "not_found_error" => Some(Meaning::NotFound),
        "request_too_large" => Some(Meaning::Overflow),
        "rate_limit_error" => Some(Meaning::RateLimited),
        "overloaded_error" | "api_error" | "timeout_error" => Some(Meaning::Overloaded),
        _ => None,
    };
    Refusal::new(message, meaning)
}
