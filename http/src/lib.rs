//! What the HTTP clients and servers of RockBot's processes have in common: how clients are made, how much of an answer they
//! read, what is said when they fail, how long and for how many clients a server waits, and how it writes events.
//!
//! Knows nothing of what is asked or of whom; timeouts and proxies are each caller's decision. None follows a redirect: it
//! could lead into the cluster, and it would take along the keys that have headers of their own.

mod serve;
mod sse;

use std::{error::Error, iter::successors};

use reqwest::{Client, ClientBuilder, Response, redirect::Policy};
use thiserror::Error;
use tokio::sync::OnceCell;
use url::Url;

pub use serve::{Bounds, Peer, serve};
pub use sse::with_json;

/// Makes a client that asks `urls` and nothing else. One whose URLs are all `http://` cannot speak TLS.
///
/// # Errors
/// As [`ClientBuilder::build`].
pub fn build<'a>(builder: ClientBuilder, urls: impl IntoIterator<Item = &'a str>) -> reqwest::Result<Client> {
    let builder = builder.redirect(Policy::none());
    // Loading the system's certificates costs megabytes that a plain connection never needs.
    if urls.into_iter().all(|url| url.starts_with("http://")) {
        builder.tls_certs_only([]).build()
    } else {
        builder.build()
    }
}

/// The clients of somebody who asks several servers. They are made with the first request: TLS tables are memory that an
/// idle process does not need.
#[derive(Debug)]
pub struct Clients {
    builder: fn() -> ClientBuilder,
    plain: OnceCell<Client>,
    tls: OnceCell<Client>,
}

impl Clients {
    /// Clients that `builder` describes.
    pub fn new(builder: fn() -> ClientBuilder) -> Self {
        Self {
            builder,
            plain: OnceCell::new(),
            tls: OnceCell::new(),
        }
    }

    /// The client for `url`.
    ///
    /// # Errors
    /// As [`build`]; the next call tries again.
    pub async fn of(&self, url: &Url) -> reqwest::Result<&Client> {
        let made = if url.scheme() == "http" { &self.plain } else { &self.tls };
        made.get_or_try_init(async || build((self.builder)(), [url.as_str()]))
            .await
    }
}

/// Why a body was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It broke off.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    /// It has more bytes than these.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
}

/// The whole body of `response`, of `most` bytes at most.
///
/// # Errors
/// [`ReadError`].
pub async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > most {
            return Err(ReadError::TooLong(most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What is beneath an error, the nearest first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}
