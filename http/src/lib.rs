//! What the HTTP clients of RockBot's processes have in common: how they are made, and what is said when they fail.
//!
//! Knows nothing of what is asked or of whom; timeouts and proxies are each caller's decision. None follows a redirect: it
//! could lead into the cluster, and it would take along the keys that have headers of their own.

use std::{error::Error, iter::successors};

use reqwest::{Client, ClientBuilder, redirect::Policy};
use tokio::sync::OnceCell;
use url::Url;

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

/// What is beneath an error, the nearest first.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}
