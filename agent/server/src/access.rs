//! Who asks, by the key that they hold: the one place that grants a scope.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use rockbot_agent::scope::ALL;
use rockbot_agent_config::{AccessConfig, AccessKey};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::warn;

use crate::error::ApiError;

/// The scope of whoever sends `headers`.
///
/// # Errors
/// When the agent wants a key and there is none, or when it has keys and this is none of them. An agent without keys
/// ignores what is sent: OpenAI's SDKs always send something.
pub(crate) fn scope(access: &AccessConfig, headers: &HeaderMap) -> Result<String, ApiError> {
    match headers.get(AUTHORIZATION).filter(|_| !access.api_keys.is_empty()) {
        Some(authorization) => holder(access, authorization)
            .map(|key| key.scope.clone())
            .ok_or_else(|| refused("the API key in the header Authorization is none of this agent's")),
        None if access.anonymous => Ok(ALL.to_owned()),
        None => Err(refused(
            "this agent wants an API key: send the header Authorization: Bearer KEY",
        )),
    }
}

/// Every key is compared, and in constant time: how long it takes says nothing about any of them. Of two that are the
/// same the last counts.
fn holder<'a>(access: &'a AccessConfig, authorization: &HeaderValue) -> Option<&'a AccessKey> {
    let sent = authorization.as_bytes();
    let (scheme, sent) = sent.split_at_checked("Bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    let sent = Sha256::digest(sent.trim_ascii());
    access.api_keys.iter().fold(None, |found, key| {
        let matches = digest(key).is_some_and(|known| known.ct_eq(&sent).into());
        if matches { Some(key) } else { found }
    })
}

/// The key is read for every request: the kubelet replaces the file when its Secret changes. An empty one is no key.
fn digest(key: &AccessKey) -> Option<[u8; 32]> {
    let text = match std::fs::read(&key.file) {
        Ok(text) => text,
        Err(error) => {
            let file = key.file.display();
            warn!(key = key.name, "the key file {file} cannot be read: {error}");
            return None;
        }
    };
    let text = text.trim_ascii();
    (!text.is_empty()).then(|| Sha256::digest(text).into())
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nobody(true, None, Ok("all"))]
    #[case::nobody_where_a_key_is_wanted(false, None, Err(()))]
    #[case::owner(false, Some("Bearer sk-owner"), Ok("owner"))]
    #[case::the_scheme_has_no_case(false, Some("bearer  sk-audit "), Ok("audit"))]
    #[case::wrong(true, Some("Bearer sk-other"), Err(()))]
    #[case::a_part_of_a_key(true, Some("Bearer sk-owne"), Err(()))]
    #[case::empty(true, Some("Bearer "), Err(()))]
    #[case::no_bearer(true, Some("Basic sk-owner"), Err(()))]
    #[case::short(true, Some("Be"), Err(()))]
    fn d6_a_key_grants_its_scope(
        #[case] anonymous: bool,
        #[case] sent: Option<&str>,
        #[case] expected: Result<&str, ()>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let key = |scope: &str, content: &str| {
            let file = directory.path().join(scope);
            std::fs::write(&file, content).unwrap();
            AccessKey {
                name: scope.to_owned(),
                scope: scope.to_owned(),
                file,
            }
        };
        let mut api_keys = vec![key("owner", "sk-owner\n"), key("audit", "sk-audit"), key("admin", "\n")];
        api_keys.push(AccessKey {
            file: directory.path().join("nowhere"),
            ..api_keys[0].clone()
        });
        let access = AccessConfig { anonymous, api_keys };
        let headers = sent.map(|sent| (AUTHORIZATION, HeaderValue::from_str(sent).unwrap()));
        let granted = scope(&access, &HeaderMap::from_iter(headers));
        assert_eq!(
            granted.as_deref().map_err(|error| assert_eq!(error.status, 401)),
            expected
        );
    }

    #[test]
    fn an_agent_without_keys_takes_any() {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer unused"))]);
        assert_eq!(scope(&AccessConfig::default(), &headers).unwrap(), ALL);
    }
}
