//! `spec.access` of an Agent: who may ask, and what they may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::SecretKeyRef;

/// Who may ask, and what they may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [serde_json::json!({
    "rule": "self.anonymousScope != 'none' || (has(self.apiKeys) && size(self.apiKeys) > 0)",
    "message": "anonymousScope none needs apiKeys, or nobody could ask",
})]))]
pub struct Access {
    /// What requests without a key may use: `all` is what everybody may, with `none` they are refused.
    pub anonymous_scope: AnonymousScope,
    /// Keys of those who may use more, sent as `Authorization: Bearer KEY`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub api_keys: Vec<AccessKey>,
}

/// Scopes of requests without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousScope {
    /// What everybody may.
    #[default]
    All,
    /// Nothing.
    None,
}

/// A key, and what its holder may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// Name of the key, for you and for the log.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What its holder may use: `all`, `owner`, which includes it, `admin`, which includes both, or a scope that a skill
    /// names.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-_.a-z0-9]+$"))]
    pub scope: String,
    /// Secret of the agent's namespace that holds the key. A changed key counts from then on, without a restart.
    pub secret_key_ref: SecretKeyRef,
}
