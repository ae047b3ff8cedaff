//! K4: the decisions, without an API server; the cluster tests ask a real one.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use kube::{Client, client::Body};
use rockbot_http::Peer;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    CLAIM_HEADER, Caller, IdentityError, MAX_REVIEWS_OF_PEER, Verifier,
    review::{bearer_token, check_claim, decide},
};

const AUDIENCE: &str = "rockbot-scripts-manager";

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn authorization(values: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for value in values {
        map.append("authorization", HeaderValue::from_str(value).unwrap());
    }
    map
}

fn review(authenticated: Option<bool>, audiences: &[&str], username: &str) -> TokenReviewStatus {
    TokenReviewStatus {
        authenticated,
        audiences: Some(audiences.iter().map(ToString::to_string).collect()),
        user: Some(UserInfo {
            username: Some(username.into()),
            ..UserInfo::default()
        }),
        ..TokenReviewStatus::default()
    }
}

fn one() -> Caller {
    Caller {
        namespace: "team".into(),
        agent: "one".into(),
    }
}

#[test]
fn a_bearer_token_is_found_in_exactly_one_header() {
    assert_eq!(bearer_token(&authorization(&["Bearer abc"])), Ok("abc"));
    assert_eq!(bearer_token(&authorization(&["bearer  abc "])), Ok("abc"));
    for wrong in [
        &[][..],
        &["abc"],
        &["Bearer "],
        &["Bearer"],
        &["Basic abc"],
        &["Bearer abc", "Bearer def"],
    ] {
        assert_eq!(
            bearer_token(&authorization(wrong)),
            Err(IdentityError::Missing),
            "{wrong:?}"
        );
    }
}

#[test]
fn an_agents_token_for_this_audience_is_that_agent() {
    let name = "system:serviceaccount:team:agent-one";
    assert_eq!(
        decide(&review(Some(true), &["other", AUDIENCE], name), AUDIENCE),
        Ok(one())
    );
}

#[test]
fn a_token_that_is_not_for_this_audience_proves_nothing() {
    let name = "system:serviceaccount:team:agent-one";
    let mut without = review(Some(true), &[], name);
    without.audiences = None;
    for status in [
        TokenReviewStatus::default(),
        without,
        review(None, &[AUDIENCE], name),
        review(Some(false), &[AUDIENCE], name),
        review(Some(true), &[], name),
        review(Some(true), &["rockbot-operator"], name),
    ] {
        assert_eq!(
            decide(&status, AUDIENCE),
            Err(IdentityError::Invalid { audience: AUDIENCE }),
            "{status:?}"
        );
    }
}

#[test]
fn only_the_service_account_of_an_agent_may_call() {
    for name in [
        "",
        "agent-one",
        "kubernetes-admin",
        "system:serviceaccount:team:default",
        "system:serviceaccount:team:agent-",
        "system:serviceaccount::agent-one",
        "system:node:agent-one",
    ] {
        let refused = decide(&review(Some(true), &[AUDIENCE], name), AUDIENCE);
        assert_eq!(refused, Err(IdentityError::NotAnAgent { username: name.into() }));
    }
}

#[test]
fn a_claim_must_be_the_tokens() {
    assert_eq!(check_claim(&HeaderMap::new(), &one()), Ok(()));
    assert_eq!(check_claim(&headers(&[(CLAIM_HEADER, "team/one")]), &one()), Ok(()));
    for claimed in ["", "one", "team/two", "other/one", "team/one/"] {
        let refused = check_claim(&headers(&[(CLAIM_HEADER, claimed)]), &one());
        assert_eq!(
            refused,
            Err(IdentityError::OtherAgent {
                claimed: claimed.into(),
                caller: one()
            })
        );
    }
}

#[test]
fn each_refusal_has_its_status() {
    let refusals = [
        (IdentityError::Missing, 401),
        (IdentityError::Invalid { audience: AUDIENCE }, 401),
        (
            IdentityError::NotAnAgent {
                username: "system:node:n".into(),
            },
            403,
        ),
        (
            IdentityError::OtherAgent {
                claimed: "a/b".into(),
                caller: one(),
            },
            403,
        ),
        (IdentityError::Unavailable, 503),
    ];
    for (error, status) in refusals {
        assert_eq!(error.http_status(), status, "{error}");
    }
}

#[tokio::test]
async fn whoever_floods_waits_behind_itself() {
    let (asked, mut questions) = mpsc::unbounded_channel();
    let silent = tower::service_fn(move |_: Request<Body>| {
        asked.send(()).unwrap();
        pending::<Result<Response<Body>, Infallible>>()
    });
    let verifier = Verifier::new(Client::new(silent, "default"), AUDIENCE);
    let ask = |token: String, address: [u8; 4]| {
        let (verifier, peer) = (verifier.clone(), Peer(address.into()));
        let headers = authorization(&[&format!("Bearer {token}")]);
        tokio::spawn(async move { verifier.authenticate(&headers, Some(peer)).await })
    };
    for number in 0..100 {
        ask(format!("garbage-{number}"), [10, 0, 0, 1]);
    }
    for _ in 0..MAX_REVIEWS_OF_PEER {
        questions.recv().await.unwrap();
    }
    let more = timeout(Duration::from_millis(50), questions.recv()).await;
    assert!(more.is_err(), "no more of one address at the same time");
    ask("good".to_owned(), [10, 0, 0, 2]);
    timeout(Duration::from_secs(1), questions.recv())
        .await
        .unwrap()
        .unwrap();
}
