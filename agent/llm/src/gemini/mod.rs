//! The wire of Google's Gemini: `streamGenerateContent` as server-sent events.

mod decode;
mod request;

use std::time::Duration;

use reqwest::header::HeaderName;
use serde_json::Value;
use url::Url;

use crate::{
    ModelError,
    chat::ChatRequest,
    refusal::{Meaning, Refusal},
    wire::{self, Decode, Defaults},
};

const GEMINI: &str = "https://generativelanguage.googleapis.com";
const VERSION: &str = "v1beta";
/// Whose reasoning this is; see [`crate::reasoning`].
const FORMAT: &str = "google-gemini-v1";

/// One model at one URL: Gemini names the model in the path.
pub(crate) struct Wire {
    url: Url,
    defaults: Defaults,
}

impl Wire {
    pub(crate) fn new(base: Option<&str>, defaults: Defaults) -> Result<Self, ModelError> {
        let mut url = wire::base_url(base.unwrap_or(GEMINI))?;
        wire::ensure_version(&mut url, VERSION);
        let name = defaults.model.strip_prefix("models/").unwrap_or(&defaults.model);
        wire::append(&mut url, ["models", &format!("{name}:streamGenerateContent")]);
        url.query_pairs_mut().append_pair("alt", "sse");
        Ok(Self { url, defaults })
    }
}

impl wire::Wire for Wire {
    fn url(&self) -> &Url {
        &self.url
    }

    fn key_header(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-goog-api-key"), "")
    }

    fn body(&self, request: &ChatRequest) -> Result<Vec<u8>, ModelError> {
        self.defaults.write(request::body(request, &self.defaults)?)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::<decode::Decoder>::default()
    }

    fn refusal(&self, body: &Value) -> Refusal {
        // Without `alt=sse`, and sometimes with it, errors come as a list of one.
        refusal(body.get(0).map_or(&body["error"], |first| &first["error"]))
    }
}

/// Reads the error object of a body or of an event.
fn refusal(error: &Value) -> Refusal {
    let details = || error["details"].as_array().into_iter().flatten();
    let message = error["message"].as_str().unwrap_or_default();
    let bad_key = details().any(|detail| detail["reason"] == "API_KEY_INVALID");
    let meaning = match error["status"].as_str().unwrap_or_default() {
        _ if bad_key => Some(Meaning::Authentication),
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => Some(Meaning::Authentication),
        // The account must be paid for, there or at all. Of files that are not ready yet Gemini says the same.
        "FAILED_PRECONDITION" if !message.contains("ACTIVE state") => Some(Meaning::NoQuota),
        "NOT_FOUND" => Some(Meaning::NotFound),
        "RESOURCE_EXHAUSTED" => Some(Meaning::RateLimited),
        "UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED" => Some(Meaning::Overloaded),
        _ => None,
    };
    let retry_after = details().find_map(|detail| {
        let seconds = detail["retryDelay"].as_str()?.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    });
    Refusal {
        retry_after,
        ..Refusal::new(message, meaning)
    }
}
