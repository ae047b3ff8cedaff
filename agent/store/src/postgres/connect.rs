//! A connection to the database: the URL from its file, TLS, and errors that a person can act on.

use std::{error::Error, fs, io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
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
    let text = read(&settings.url_file)?;
    let config = config(&text, settings).map_err(|reason| unavailable(format!("{path} {reason}")))?;
    let client = if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| failed(&error))?;
        drive(connection);
        client
    } else {
        let (client, connection) = config
            .connect(tls(settings.ca_file.as_deref())?)
            .await
            .map_err(|error| failed(&error))?;
        drive(connection);
        client
    };
    schema::ensure(&client).await?;
    Ok(client)
}

/// What the URL says, but for the host and the port. An error names no part of it: it holds a password.
fn config(text: &str, settings: &PostgresSettings) -> Result<Config, String> {
    let PostgresSettings {
        host, port, ca_file, ..
    } = settings;
    let expected = "as in postgres://USER:PASSWORD@HOST/DATABASE";
    let mut url = Url::parse(text.trim()).map_err(|error| format!("holds no URL, {expected}: {error}"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(format!("holds no URL of a PostgreSQL database, {expected}"));
    }
    url.set_host(Some(host))
        .map_err(|error| format!("cannot be used with the host {host:?}: {error}"))?;
    url.set_port(Some(*port))
        .map_err(|()| format!("holds no URL with a host, {expected}"))?;
    // Certificates are always verified in full, so the stricter modes are what `require` is here. All else stays as it is
    // written: this is no form of a web page, in which a blank could be a plus.
    let option = |option| match option {
        "sslmode=verify-ca" | "sslmode=verify-full" => "sslmode=require",
        other => other,
    };
    let query = url
        .query()
        .map(|query| query.split('&').map(option).collect::<Vec<_>>());
    url.set_query(query.map(|query| query.join("&")).as_deref());
    let mut config: Config = url
        .as_str()
        .parse()
        .map_err(|error: tokio_postgres::Error| format!("holds a URL that cannot be used: {}", causes(&error)))?;
    if ca_file.is_some() {
        if config.get_ssl_mode() == SslMode::Disable {
            return Err(
                "holds a URL that says sslmode=disable, but storage.postgres.ca says who signs the database's \
                 certificate; leave out one of them"
                    .to_owned(),
            );
        }
        // Whoever answers that it cannot encrypt is not the one whose certificate is known.
        config.ssl_mode(SslMode::Require);
    }
    config.application_name(APPLICATION);
    Ok(config)
}

/// TLS with certificates that are checked in full: by the authorities of a file or, as for model providers, of the system.
fn tls(ca_file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let refused = |error| unavailable(format!("TLS cannot be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = match ca_file {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None => builder.with_platform_verifier().map_err(refused)?,
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

/// The authorities of a file.
fn authorities(file: &Path) -> Result<RootCertStore, StoreError> {
    let refused = |reason: String| unavailable(format!("{} {reason}", file.display()));
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(read(file)?.as_bytes()) {
        certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| authorities.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| refused(format!("holds a certificate that cannot be used: {error}")))?;
    }
    if authorities.is_empty() {
        return Err(refused(
            "holds no certificate; each is PEM, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
                .to_owned(),
        ));
    }
    Ok(authorities)
}

fn read(file: &Path) -> Result<String, StoreError> {
    fs::read_to_string(file).map_err(|error| unavailable(format!("cannot read {}: {error}", file.display())))
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
        _ if is_of_unknown_authority(error) => unavailable(format!(
            "{text}: none of the authorities that the agent trusts has signed the database's certificate; put the \
             certificate of the one that has into a Secret, and name that in storage.postgres.ca"
        )),
        _ => unavailable(text),
    }
}

pub(super) fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable(reason)
}

/// Whether the handshake failed because nobody whom we trust has signed the certificate. One who has, but with another key
/// than the one that we know, is nobody whom we trust.
fn is_of_unknown_authority(error: &tokio_postgres::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    // What an I/O error was made from is not among its sources.
    let cause = cause.and_then(|error| error.get_ref()?.downcast_ref());
    matches!(
        cause,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ))
    )
}

pub(super) fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
