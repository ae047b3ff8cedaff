//! A connection to the database: the URL from its file, TLS, and errors that a person can act on.

use std::{error::Error, fs, sync::Arc};

use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{Client, Config, Connection, NoTls, config::SslMode, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;
use url::Url;

use super::{PostgresSettings, schema};
use crate::StoreError;

/// Who we are, in the database's list of connections.
const APPLICATION: &str = "rockbot-agent";

/// A new connection to a database that has our tables.
pub(super) async fn connect(settings: &PostgresSettings) -> Result<Client, StoreError> {
    let path = settings.url_file.display();
    let text =
        fs::read_to_string(&settings.url_file).map_err(|error| unavailable(format!("cannot read {path}: {error}")))?;
    let config = config(&text, settings).map_err(|reason| unavailable(format!("{path} {reason}")))?;
    let client = if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| failed(&error))?;
        drive(connection);
        client
    } else {
        let (client, connection) = config.connect(tls()?).await.map_err(|error| failed(&error))?;
        drive(connection);
        client
    };
    schema::ensure(&client).await?;
    Ok(client)
}

/// What the URL says, but for the host and the port. An error names no part of it: it holds a password.
fn config(text: &str, PostgresSettings { host, port, .. }: &PostgresSettings) -> Result<Config, String> {
    let expected = "as in postgres://USER:PASSWORD@HOST/DATABASE";
    let mut url = Url::parse(text.trim()).map_err(|error| format!("holds no URL, {expected}: {error}"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(format!("holds no URL of a PostgreSQL database, {expected}"));
    }
    url.set_host(Some(host))
        .map_err(|error| format!("cannot be used with the host {host:?}: {error}"))?;
    url.set_port(Some(*port))
        .map_err(|()| format!("holds no URL with a host, {expected}"))?;
    // Certificates are always verified in full, so the stricter modes are what `require` is here.
    let query: Vec<_> = url.query_pairs().into_owned().collect();
    if !query.is_empty() {
        url.query_pairs_mut()
            .clear()
            .extend_pairs(query.iter().map(|(name, value)| {
                let is_strict = name == "sslmode" && matches!(&**value, "verify-ca" | "verify-full");
                (name, if is_strict { "require" } else { value })
            }));
    }
    let mut config: Config = url
        .as_str()
        .parse()
        .map_err(|error: tokio_postgres::Error| format!("holds a URL that cannot be used: {}", causes(&error)))?;
    config.application_name(APPLICATION);
    Ok(config)
}

/// TLS as for model providers: the certificates of the system, checked in full.
fn tls() -> Result<MakeRustlsConnect, StoreError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| unavailable(format!("TLS cannot be set up: {error}")))?;
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

/// Reads and writes for the client until it is dropped or the connection breaks.
fn drive<S, T>(connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!("a connection to the database ended: {}", causes(&error));
        }
    });
}

pub(super) fn failed(error: &tokio_postgres::Error) -> StoreError {
    let text = causes(error);
    match error.code() {
        Some(&SqlState::DISK_FULL) => StoreError::Full(text),
        _ => unavailable(text),
    }
}

pub(super) fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable(reason)
}

fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
