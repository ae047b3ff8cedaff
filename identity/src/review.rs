//! Decides from headers and a finished review; asks nobody.

use axum::http::{HeaderMap, HeaderName, header};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;

use crate::{Caller, IdentityError};

/// Optional header in which a caller says who it is, as `NAMESPACE/NAME`; a wrong claim is refused.
pub const CLAIM_HEADER: HeaderName = HeaderName::from_static("x-rockbot-agent");

/// Kubernetes' user name of the ServiceAccount of the Agent NAME: `system:serviceaccount:NAMESPACE:agent-NAME`.
const USER_PREFIX: &str = "system:serviceaccount:";
const ACCOUNT_PREFIX: &str = "agent-";

/// The token that the request carries.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&str, IdentityError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    // Two headers are two identities: neither is believed.
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(IdentityError::Missing);
    };
    let text = value.to_str().map_err(|_| IdentityError::Missing)?;
    let (scheme, token) = text.split_once(' ').ok_or(IdentityError::Missing)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(IdentityError::Missing);
    }
    Ok(token)
}

/// Whom the review of a token for `audience` proves.
pub(crate) fn decide(status: &TokenReviewStatus, audience: &'static str) -> Result<Caller, IdentityError> {
    // An authenticator that knows nothing of audiences returns none: then the token proves nothing here.
    let for_us = status.audiences.iter().flatten().any(|returned| returned == audience);
    if status.authenticated != Some(true) || !for_us {
        return Err(IdentityError::Invalid { audience });
    }
    let username = status
        .user
        .as_ref()
        .and_then(|user| user.username.as_deref())
        .unwrap_or_default();
    agent_of(username).ok_or_else(|| IdentityError::NotAnAgent {
        username: username.to_owned(),
    })
}

/// Refuses a request that claims to come from somebody else.
pub(crate) fn check_claim(headers: &HeaderMap, caller: &Caller) -> Result<(), IdentityError> {
    for value in headers.get_all(CLAIM_HEADER) {
        let claimed = String::from_utf8_lossy(value.as_bytes());
        if claimed != caller.to_string() {
            return Err(IdentityError::OtherAgent {
                claimed: claimed.into_owned(),
                caller: caller.clone(),
            });
        }
    }
    Ok(())
}

fn agent_of(username: &str) -> Option<Caller> {
    let (namespace, account) = username.strip_prefix(USER_PREFIX)?.split_once(':')?;
    let agent = account.strip_prefix(ACCOUNT_PREFIX)?;
    let complete = !namespace.is_empty() && !agent.is_empty();
    complete.then(|| Caller {
        namespace: namespace.to_owned(),
        agent: agent.to_owned(),
    })
}
