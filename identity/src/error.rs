//! Why a caller is not believed, in words that say what to do. Never carries a token.

use thiserror::Error;

use crate::Caller;

/// A request whose sender is not a known Agent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// No `Authorization` header, or not a bearer token in it.
    #[error("no token; send `Authorization: Bearer` with the agent's projected ServiceAccount token")]
    Missing,
    /// The API server does not accept the token for this audience.
    #[error(
        "the token is expired, unknown or for another service; send a ServiceAccount token for the audience `{audience}`"
    )]
    Invalid {
        /// The only audience that this service accepts.
        audience: &'static str,
    },
    /// A good token of somebody who is not an Agent.
    #[error("`{username}` is not an Agent's identity; only the ServiceAccount `agent-NAME` of an Agent may call")]
    NotAnAgent {
        /// Who it is, in Kubernetes' words.
        username: String,
    },
    /// The request says that it comes from another Agent than the token does.
    #[error("the request claims to come from `{claimed}`, but its token belongs to `{caller}`")]
    OtherAgent {
        /// What the request says.
        claimed: String,
        /// What the token says.
        caller: Caller,
    },
    /// The API server gave no answer; nothing is known about the token.
    #[error("the token cannot be verified now: the API server does not answer; try again in a few seconds")]
    Unavailable,
}

impl IdentityError {
    /// Status of the response that carries this error.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Missing | Self::Invalid { .. } => 401,
            Self::NotAnAgent { .. } | Self::OtherAgent { .. } => 403,
            Self::Unavailable => 503,
        }
    }
}
