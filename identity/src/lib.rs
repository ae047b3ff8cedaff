//! Who is calling: ServiceAccount tokens bound to one audience, verified with TokenReview, turned into an Agent.
//!
//! The operator and the scripts manager share it, so that who may call has one implementation. It knows nothing of what
//! the caller wants, and a token never leaves it: neither a log line nor an error carries one.

mod error;
mod review;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use moka::{Expiry, future::Cache};
use rockbot_http::Peer;
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, time::timeout};

pub use error::IdentityError;
pub use review::CLAIM_HEADER;

/// How long a token that was found good is believed. A deleted ServiceAccount keeps its access for as long.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// How long a refusal is repeated without asking: an agent that retries with a bad token costs one review in this time.
const BAD_FOR: Duration = Duration::from_secs(5);
/// Most tokens remembered. Anybody who reaches the port can send garbage, so the number is bounded.
const MAX_TOKENS: u64 = 10_000;
/// Most reviews at the same time, so that a flood of bad tokens does not become one of the API server.
const MAX_REVIEWS: usize = 16;
/// Of these and of those that wait for a turn, those for one address: whoever floods waits behind itself.
const MAX_REVIEWS_OF_PEER: usize = 4;
/// Addresses whose turns are known, and for how long after their last. Beyond that, one may have a few turns more.
const MAX_PEERS: u64 = 10_000;
const PEER_FOR: Duration = Duration::from_secs(60);
/// Most time that one review may take, its turn included.
const REVIEW_DEADLINE: Duration = Duration::from_secs(5);

/// An Agent that proved who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Namespace of the Agent.
    pub namespace: String,
    /// Name of the Agent.
    pub agent: String,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.agent)
    }
}

/// Verifies the tokens of one audience. Clones share what they remember.
#[derive(Clone)]
pub struct Verifier {
    reviews: Api<TokenReview>,
    audience: &'static str,
    verdicts: Cache<[u8; 32], Verdict>,
    turns: Arc<Semaphore>,
    turns_of_peers: Cache<Option<Peer>, Arc<Semaphore>>,
}

/// What the API server said about a token: final for a while, unlike having no answer.
type Verdict = Result<Caller, IdentityError>;

impl Verifier {
    /// A verifier that accepts tokens for `audience` only.
    pub fn new(client: Client, audience: &'static str) -> Self {
        let verdicts = Cache::builder().max_capacity(MAX_TOKENS).expire_after(Lifetime).build();
        Self {
            reviews: Api::all(client),
            audience,
            verdicts,
            turns: Arc::new(Semaphore::new(MAX_REVIEWS)),
            turns_of_peers: Cache::builder().max_capacity(MAX_PEERS).time_to_idle(PEER_FOR).build(),
        }
    }

    /// Says which Agent sent a request with `headers` from `peer`, as far as that is known.
    ///
    /// # Errors
    /// [`IdentityError`], which knows its HTTP status.
    pub async fn authenticate(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Caller, IdentityError> {
        let token = review::bearer_token(headers)?;
        let key = Sha256::digest(token).into();
        let verdict = self
            .verdicts
            .try_get_with(key, self.review(token, peer))
            .await
            .map_err(|error| IdentityError::clone(&error))?;
        let caller = verdict?;
        review::check_claim(headers, &caller)?;
        Ok(caller)
    }

    /// Asks the API server. An outer error is no answer, and not remembered.
    async fn review(&self, token: &str, peer: Option<Peer>) -> Result<Verdict, IdentityError> {
        let request = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: Some(vec![self.audience.to_owned()]),
            },
            status: None,
        };
        let asked = async {
            let own = self.turns_of(peer).await;
            let _turns = (own.acquire().await, self.turns.acquire().await);
            self.reviews.create(&PostParams::default(), &request).await
        };
        match timeout(REVIEW_DEADLINE, asked).await {
            Ok(Ok(review)) => Ok(review::decide(&review.status.unwrap_or_default(), self.audience)),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the API server does not review tokens");
                Err(IdentityError::Unavailable)
            }
            Err(_) => {
                tracing::warn!(deadline = ?REVIEW_DEADLINE, "the API server did not review a token in time");
                Err(IdentityError::Unavailable)
            }
        }
    }

    async fn turns_of(&self, peer: Option<Peer>) -> Arc<Semaphore> {
        let turns = async { Arc::new(Semaphore::new(MAX_REVIEWS_OF_PEER)) };
        self.turns_of_peers.get_with(peer, turns).await
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// How long each verdict is remembered.
struct Lifetime;

impl Expiry<[u8; 32], Verdict> for Lifetime {
    fn expire_after_create(&self, _: &[u8; 32], verdict: &Verdict, _: Instant) -> Option<Duration> {
        Some(if verdict.is_ok() { GOOD_FOR } else { BAD_FOR })
    }
}
