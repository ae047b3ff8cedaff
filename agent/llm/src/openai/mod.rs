//! The wire of OpenAI's chat completions, as spoken by OpenAI, Azure, Ollama, vLLM, OpenRouter and anything compatible.

mod decode;
mod request;
mod thoughts;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName};
use serde_json::Value;
use url::Url;

use crate::{
    ModelError,
    chat::ChatRequest,
    refusal::{Meaning, Refusal},
    wire::{self, Decode, Defaults},
};

const OPENAI: &str = "https://api.openai.com/v1";
/// Where Ollama listens when nothing else is said.
const OLLAMA: &str = "http://localhost:11434";

/// Chat completions at one URL.
pub(crate) struct Wire {
    url: Url,
    defaults: Defaults,
    dialect: Dialect,
}

/// What servers do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// OpenAI itself: it renamed `max_tokens`, refuses the old name for new models, and knows no reasoning in messages.
    OpenAi,
    /// OpenAI's models in Azure: the same, and the key has a header of its own.
    Azure,
    /// Everyone else.
    Compatible,
}

impl Dialect {
    /// Whether it is OpenAI's own models that read it.
    fn is_openai(self) -> bool {
        self != Self::Compatible
    }
}

impl Wire {
    pub(crate) fn new(base: Option<&str>, defaults: Defaults) -> Result<Self, ModelError> {
        let mut url = wire::base_url(base.unwrap_or(OPENAI))?;
        let dialect = dialect(&url);
        wire::append(&mut url, ["chat", "completions"]);
        Ok(Self { url, defaults, dialect })
    }

    /// Ollama has this wire below `/v1`; its users know its URL without.
    pub(crate) fn ollama(base: Option<&str>, defaults: Defaults) -> Result<Self, ModelError> {
        let mut url = wire::base_url(base.unwrap_or(OLLAMA))?;
        wire::ensure_version(&mut url, "v1");
        Self::new(Some(url.as_str()), defaults)
    }
}

impl wire::Wire for Wire {
    fn url(&self) -> &Url {
        &self.url
    }

    fn key_header(&self) -> (HeaderName, &'static str) {
        match self.dialect {
            Dialect::Azure => (HeaderName::from_static("api-key"), ""),
            Dialect::OpenAi | Dialect::Compatible => (AUTHORIZATION, "Bearer "),
        }
    }

    fn body(&self, request: &ChatRequest) -> Result<Vec<u8>, ModelError> {
        request::body(request, &self.defaults, self.dialect)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::<decode::Decoder>::default()
    }

    fn refusal(&self, body: &Value) -> Refusal {
        // Some servers of open models send the error without the object around it.
        refusal(if body["error"].is_null() { body } else { &body["error"] })
    }
}

fn dialect(url: &Url) -> Dialect {
    let host = url.host_str().unwrap_or_default();
    if host == "api.openai.com" {
        Dialect::OpenAi
    } else if host.ends_with(".azure.com") || url.query_pairs().any(|(name, _)| name == "api-version") {
        Dialect::Azure
    } else {
        Dialect::Compatible
    }
}

/// Reads an error object; some servers give a mere string.
fn refusal(error: &Value) -> Refusal {
    if let Value::String(message) = error {
        return Refusal::new(message, None);
    }
    let message = error["message"].as_str().unwrap_or_default();
    let inner = [&error["innererror"]["code"], &error["code"], &error["type"]];
    let codes = inner.into_iter().filter_map(Value::as_str);
    let metadata = &error["metadata"];
    // OpenRouter has no code for it but the status of a wrong key.
    let is_flagged = metadata["reasons"].is_array() || metadata["flagged_input"].is_string();
    let filtered = is_flagged.then_some(Meaning::Filtered);
    let refusal = Refusal::new(message, filtered.or_else(|| codes.filter_map(meaning).next()));
    let seconds = metadata["retry_after_seconds"].as_f64();
    Refusal {
        retry_after: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        ..refusal
    }
}

fn meaning(code: &str) -> Option<Meaning> {
    Some(match code {
        "invalid_api_key" | "authentication_error" => Meaning::Authentication,
        "insufficient_quota" | "billing_hard_limit_reached" => Meaning::NoQuota,
        "context_length_exceeded" | "exceed_context_size_error" => Meaning::Overflow,
        "content_filter" | "content_policy_violation" | "ResponsibleAIPolicyViolation" => Meaning::Filtered,
        "model_not_found" | "DeploymentNotFound" => Meaning::NotFound,
        "rate_limit_exceeded" => Meaning::RateLimited,
        "server_error" | "overloaded_error" => Meaning::Overloaded,
        _ => return None,
    })
}
