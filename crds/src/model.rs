//! `spec.model` of an Agent: which model thinks, where it is, and which stand in for it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Which model to call, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Model {
    /// How the model is spoken to. `OpenAI` is OpenAI or any server compatible with its chat completions: Azure, vLLM,
    /// OpenRouter, llama.cpp. `Anthropic` and `Gemini` are those providers' own protocols. `Ollama` is a server of yours.
    /// `Demo` is a small deterministic model inside the agent, for trying things out without a key.
    pub provider: Provider,
    /// Name of the model as its provider knows it. Required unless the provider is `Demo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Where the provider is. Defaults to its public address; required with `Ollama`. With `OpenAI` it is the URL up to
    /// and excluding `/chat/completions`, for example `https://api.openai.com/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?$")
    )]
    pub base_url: Option<String>,
    /// Where the API key is. Absent for servers that ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
    /// Sampling temperature of requests that set neither it nor `topP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 2.0))]
    pub temperature: Option<f64>,
    /// Nucleus sampling of requests that set neither it nor `temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: Option<f64>,
    /// Most tokens to generate for requests that set no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_tokens: Option<i32>,
    /// Longest silence of the provider in seconds: until its first byte and between any two of them.
    #[serde(default = "model_timeout")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: i32,
    /// Fields of the provider's own that every request carries, for example `{reasoning_effort: high}`. What a request
    /// has already stays as it is.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "free_object")]
    pub extra_body: Map<String, Value>,
    /// Models that stand in when this one cannot answer, in the order in which they are asked. Temperature, nucleus
    /// sampling and time-out are those of this model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub fallbacks: Vec<Fallback>,
}

/// A model that stands in for another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Fallback {
    /// How the model is spoken to.
    pub provider: Provider,
    /// Name of the model as its provider knows it. Required unless the provider is `Demo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Where the provider is. Defaults to its public address; required with `Ollama`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?$")
    )]
    pub base_url: Option<String>,
    /// Where the API key is. Absent for servers that ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
    /// Most tokens to generate for requests that set no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_tokens: Option<i32>,
    /// Fields of the provider's own that every request carries.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "free_object")]
    pub extra_body: Map<String, Value>,
}

/// Providers of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Provider {
    /// OpenAI's chat completions.
    OpenAI,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Ollama.
    Ollama,
    /// A deterministic model inside the agent.
    Demo,
}

/// A key that the provider asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// Secret of the agent's namespace. It is mounted as a file; a changed key is used from then on, without a restart.
    pub secret_key_ref: SecretKeyRef,
}

/// Names of Secrets, as those of most objects, are subdomains of DNS (RFC 1123).
const SECRET_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A Secret of the object's namespace, of the type `kubernetes.io/dockerconfigjson`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_NAME))]
    pub name: String,
}

/// One key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_NAME))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))]
    pub key: String,
}

/// What holds between the fields of a model, and of one that stands in.
fn rules() -> Value {
    let absent = |field: &str, why: &str| {
        json!({
            "rule": format!("self.provider != 'Demo' || !has(self.{field})"),
            "message": format!("{field} must be absent when provider is Demo: {why}"),
        })
    };
    json!([
        { "rule": "self.provider == 'Demo' || has(self.name)", "message": "name is required unless provider is Demo" },
        {
            "rule": "self.provider != 'Ollama' || has(self.baseUrl)",
            "message": "baseUrl is required when provider is Ollama: there is no public one",
        },
        absent("baseUrl", "it calls no server"),
        absent("apiKey", "it needs no key"),
        absent("extraBody", "it reads no fields of its own"),
    ])
}

/// An object whose fields are nobody's business but the provider's.
fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": true })
}

fn model_timeout() -> i32 {
    120
}
