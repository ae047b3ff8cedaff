//! What differs between providers: where a request goes, how it is written, how its answer and its refusals read.
//! Pure translation: no wire opens a socket, reads a file or knows the time.

use std::collections::VecDeque;

use reqwest::header::{HeaderMap, HeaderName};
use rockbot_agent_config::{ModelConfig, Provider};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, error::Category};
use url::Url;

use crate::{Event, ModelError, ModelErrorKind, anthropic, chat::ChatRequest, gemini, openai, refusal::Refusal};

/// A provider's protocol, set up for one model.
pub(crate) trait Wire: Send + Sync {
    /// Where requests go.
    fn url(&self) -> &Url;

    /// Headers of every request.
    fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    /// The header that carries the key, and what stands before the key in it.
    fn key_header(&self) -> (HeaderName, &'static str);

    /// The body of a request that asks for a stream.
    fn body(&self, request: &ChatRequest) -> Result<Vec<u8>, ModelError>;

    /// A reader of one answer.
    fn decoder(&self) -> Box<dyn Decode>;

    /// What the body of a refusal says.
    fn refusal(&self, body: &Value) -> Refusal;
}

/// Reads the server-sent events of one answer.
pub(crate) trait Decode: Send {
    /// Appends what `data` says to `events`.
    fn read(&mut self, data: &str, events: &mut VecDeque<Event>) -> Result<(), ModelError>;

    /// Whether the provider has said that nothing follows.
    fn is_done(&self) -> bool;

    /// Appends what is left to say, and fails when the answer may not end here.
    fn end(&mut self, events: &mut VecDeque<Event>) -> Result<(), ModelError>;
}

/// What the agent's configuration says where a request says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) model: String,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) extra_body: Map<String, Value>,
}

impl Defaults {
    fn of(config: &ModelConfig) -> Self {
        Self {
            model: config.name.clone(),
            temperature: config.temperature,
            top_p: config.top_p,
            max_tokens: config.max_tokens,
            extra_body: config.extra_body.clone(),
        }
    }

    /// The bound of generated tokens, by whatever name it is said.
    pub(crate) fn bound(&self, request: &ChatRequest) -> Option<u32> {
        request.max_completion_tokens.or(request.max_tokens).or(self.max_tokens)
    }

    /// Temperature and nucleus sampling. They are two ways to say one thing: a client that chooses one of them does not
    /// want it joined by the other of somebody else.
    pub(crate) fn sampling(&self, request: &ChatRequest) -> (Option<f64>, Option<f64>) {
        match (request.temperature, request.top_p) {
            (None, None) => (self.temperature, self.top_p),
            chosen => chosen,
        }
    }

    /// `body` with the fields of `extraBody` that it lacks, as JSON.
    pub(crate) fn write(&self, mut body: Value) -> Result<Vec<u8>, ModelError> {
        if let Value::Object(body) = &mut body {
            add_missing(body, &self.extra_body);
        }
        serde_json::to_vec(&body).map_err(|error| unwritable(&error))
    }
}

/// The protocol of a configured model; `None` for one that needs none.
pub(crate) fn of(config: &ModelConfig) -> Result<Option<Box<dyn Wire>>, ModelError> {
    let defaults = Defaults::of(config);
    let base = config.base_url.as_deref();
    Ok(Some(match config.provider {
        Provider::OpenAI => Box::new(openai::Wire::new(base, defaults)?),
        Provider::Ollama => Box::new(openai::Wire::ollama(base, defaults)?),
        Provider::Anthropic => Box::new(anthropic::Wire::new(base, defaults)?),
        Provider::Gemini => Box::new(gemini::Wire::new(base, defaults)?),
        Provider::Demo => return Ok(None),
    }))
}

/// A base URL, checked.
pub(crate) fn base_url(base: &str) -> Result<Url, ModelError> {
    let invalid = |reason: &str| {
        let message = format!("baseUrl {base:?}: {reason}; expected is something like https://api.openai.com/v1");
        ModelError::new(ModelErrorKind::Configuration, message)
    };
    let url = Url::parse(base).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(invalid("neither http nor https"));
    }
    Ok(url)
}

/// Appends `segments` to the path of `url`; its query stays.
pub(crate) fn append<'a>(url: &mut Url, segments: impl IntoIterator<Item = &'a str>) {
    // A checked base URL has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
}

/// Appends `version` to a base URL whose path does not end in a version yet.
pub(crate) fn ensure_version(url: &mut Url, version: &str) {
    let last = url
        .path_segments()
        .and_then(|path| path.rev().find(|segment| !segment.is_empty()));
    let is_version = |segment: &str| segment.starts_with('v') && segment[1..].starts_with(|c: char| c.is_ascii_digit());
    if !last.is_some_and(is_version) {
        append(url, [version]);
    }
}

/// For fields that servers fill with null where they have nothing to say: an answer does not end for that.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The error of an answer that ends before it is complete.
pub(crate) fn cut() -> ModelError {
    ModelError::new(
        ModelErrorKind::CutStream,
        "the model provider's answer broke off before its end",
    )
}

/// The error of an event that is no JSON of the protocol. It names the place and not the value: that is part of an answer.
pub(crate) fn garbage(error: &serde_json::Error) -> ModelError {
    let what = match error.classify() {
        Category::Data => "a field has another type than this protocol gives it",
        Category::Eof => "it breaks off",
        Category::Syntax | Category::Io => "it is no JSON",
    };
    let (line, column) = (error.line(), error.column());
    ModelError::new(
        ModelErrorKind::BadResponse,
        format!("the model provider sent no valid chunk: {what}, at line {line} column {column}"),
    )
}

/// The error of a request that cannot be written.
pub(crate) fn unwritable(error: &serde_json::Error) -> ModelError {
    ModelError::new(ModelErrorKind::InvalidRequest, error.to_string())
}

/// Adds what `body` lacks; objects that both have are joined, and what `body` says stays.
pub(crate) fn add_missing(body: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match (body.get_mut(name), value) {
            (Some(Value::Object(body)), Value::Object(extra)) => add_missing(body, extra),
            (Some(_), _) => {}
            (None, value) => drop(body.insert(name.clone(), value.clone())),
        }
    }
}
