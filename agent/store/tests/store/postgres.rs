//! What is special about a database: others use it, it goes away and comes back, and it wants a password.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use rockbot_agent_store::{Backend, Key, Postgres, PostgresSettings, Store, StoreError};
use rockbot_test_postgres::{Certificate, PASSWORD, Server};
use tokio_postgres::{Client, NoTls};

use crate::conformance;

const KEY: Key<'_> = Key {
    owner: "me",
    kind: "x",
    name: "k",
};

fn postgres(server: &Server, url: &str) -> Postgres {
    Postgres::new(settings(server, url))
}

fn settings(server: &Server, url: &str) -> PostgresSettings {
    PostgresSettings {
        url_file: server.file("url", url),
        ca_file: None,
        host: "127.0.0.1".into(),
        port: server.port(),
    }
}

/// A database whose certificate must be signed by `authorities`.
fn encrypted(server: &Server, url: &str, authorities: &str) -> Postgres {
    Postgres::new(PostgresSettings {
        ca_file: Some(server.file("ca", authorities)),
        ..settings(server, url)
    })
}

/// Another client of the database.
async fn client(server: &Server) -> Client {
    let url = server
        .url()
        .replace("nowhere.invalid", &format!("127.0.0.1:{}", server.port()));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// As long as nobody connects again after a failure.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[tokio::test]
async fn a_database_is_a_store() {
    let server = Server::start();
    conformance::check(Arc::new(postgres(&server, &server.url()))).await;
}

#[tokio::test]
async fn many_processes_that_come_at_once_share_one_database() {
    let server = Server::start();
    let processes: Vec<_> = (0..8)
        .map(|_| Store::new(Arc::new(postgres(&server, &server.url())), "me".into()))
        .collect();
    // All of them make the tables, and on a busy machine the last one gives up once or twice.
    let connect = async |store: &Store| {
        let mut attempts = 0;
        while let Err(error) = store.space("tokens").get::<u64>("today").await {
            attempts += 1;
            assert!(attempts < 20 && matches!(error, StoreError::Unavailable(_)), "{error}");
            pause().await;
        }
    };
    join_all(processes.iter().map(connect)).await;
    let count = async |store: &Store| {
        for _ in 0..5 {
            store.space("tokens").add("today", 1, None).await.unwrap();
        }
    };
    join_all(processes.iter().map(count)).await;
    assert_eq!(processes[0].space("tokens").get("today").await, Ok(Some(40)));
}

#[tokio::test]
async fn a_database_that_comes_back_is_used_again() {
    let mut server = Server::start();
    let database = postgres(&server, &server.url());
    database.put(KEY, b"1", None).await.unwrap();
    server.stop();
    let error = database.get(KEY).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    server.resume();
    pause().await;
    assert_eq!(database.get(KEY).await, Ok(Some(b"1".to_vec())));
}

/// The processes that serve connections of agents.
async fn served_by(client: &Client) -> Vec<i32> {
    let agents = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rockbot-agent'";
    let rows = client.query(agents, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_value_that_is_refused_costs_no_connection() {
    let server = Server::start();
    let database = Arc::new(postgres(&server, &server.url()));
    database.put(KEY, b"1", None).await.unwrap();
    let client = client(&server).await;
    let before = served_by(&client).await;
    // Too much for an index, and compression does not help.
    let long: String = (0..3000u32)
        .map(|number| format!("{:x}", number.wrapping_mul(2_654_435_761)))
        .collect();
    let names = ["a\0", long.as_str()];
    for name in names {
        let error = database.put(Key { name, ..KEY }, b"1", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
    let store = Store::new(database.clone(), "me".into());
    assert!(store.space("x").put(&long, &1, None).await.is_err());
    assert!(!store.is_failing());
    assert_eq!(database.get(KEY).await, Ok(Some(b"1".to_vec())));
    assert_eq!(served_by(&client).await, before);
}

#[tokio::test]
async fn tables_that_were_dropped_are_made_again() {
    let server = Server::start();
    let database = postgres(&server, &server.url());
    database.put(KEY, b"1", None).await.unwrap();
    let drop = "DROP TABLE rockbot_entries, rockbot_schema";
    client(&server).await.batch_execute(drop).await.unwrap();
    let error = database.get(KEY).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(database.get(KEY).await, Ok(None));
}

#[tokio::test]
async fn options_of_the_url_are_used_as_they_are_written() {
    let server = Server::start();
    let client = client(&server).await;
    client.batch_execute("CREATE SCHEMA \"my+agents\"").await.unwrap();
    for options in ["-c%20search_path%3Dmy%2Bagents", "-c search_path=my+agents"] {
        let url = format!("{}&options={options}", server.url());
        postgres(&server, &url)
            .put(KEY, options.as_bytes(), None)
            .await
            .unwrap();
        let kept = client
            .query("SELECT value FROM \"my+agents\".rockbot_entries", &[])
            .await
            .unwrap();
        assert_eq!(kept[0].get::<_, &[u8]>(0), options.as_bytes());
    }
}

#[tokio::test]
async fn errors_say_what_to_do_and_nothing_that_is_secret() {
    let server = Server::start();
    let wrong = server.url().replace("rockbot:", "rockbot:x");
    for (url, words) in [
        ("secret", "holds no URL, as in postgres://USER:PASSWORD@HOST/DATABASE"),
        ("mysql://a:secret@h/d", "holds no URL of a PostgreSQL database"),
        ("postgres://a:secret@h/d?sslmode=sometimes", "sslmode"),
        (wrong.as_str(), "password authentication failed for user \"rockbot\""),
        (&server.url().replace("disable", "verify-full"), "TLS"),
    ] {
        let error = postgres(&server, url).get(KEY).await.unwrap_err().to_string();
        assert!(error.contains(words), "{url}: {error}");
        assert!(
            !error.contains("secret") && !error.contains(PASSWORD) && !error.contains("p%40ss"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_password_that_was_changed_is_read_again() {
    let server = Server::start();
    let database = postgres(&server, &server.url().replace("rockbot:", "rockbot:x"));
    assert!(database.get(KEY).await.is_err());
    server.file("url", &server.url());
    pause().await;
    assert_eq!(database.get(KEY).await, Ok(None));
}

#[tokio::test]
async fn tables_of_another_version_are_left_alone() {
    let server = Server::start();
    postgres(&server, &server.url()).put(KEY, b"1", None).await.unwrap();
    let client = client(&server).await;
    // A user who may use the tables needs no right to make any.
    client
        .batch_execute(
            "CREATE ROLE guest LOGIN PASSWORD 'guest'; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON rockbot_entries TO guest; GRANT SELECT ON rockbot_schema TO guest",
        )
        .await
        .unwrap();
    let guest = "postgres://guest:guest@h/postgres?sslmode=disable";
    assert_eq!(postgres(&server, guest).get(KEY).await, Ok(Some(b"1".to_vec())));
    client
        .batch_execute("UPDATE rockbot_schema SET version = 2")
        .await
        .unwrap();
    let error = postgres(&server, guest).get(KEY).await.unwrap_err().to_string();
    assert!(error.contains("version 2") && error.contains("knows 1"), "{error}");
}

#[tokio::test]
async fn a_certificate_counts_when_one_of_the_given_authorities_has_signed_it() {
    let certificate = Certificate::of("IP:127.0.0.1");
    let server = Server::start_with_tls(&certificate);
    let url = server.url().replace("?sslmode=disable", "");
    let bundle = format!("{}{}", Certificate::of("IP:127.0.0.1").authority, certificate.authority);
    encrypted(&server, &url, &bundle).put(KEY, b"1", None).await.unwrap();

    let database = encrypted(&server, &url, &certificate.authority);
    assert_eq!(database.get(KEY).await, Ok(Some(b"1".to_vec())));
    let of_the_agent = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                        WHERE application_name = 'rockbot-agent'";
    let connections = client(&server).await.query(of_the_agent, &[]).await.unwrap();
    assert!(
        connections.iter().all(|connection| connection.get("ssl")),
        "{connections:?}"
    );
    assert!(!connections.is_empty());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_in_words_that_help() {
    let server = Server::start_with_tls(&Certificate::of("IP:127.0.0.1"));
    let url = server.url().replace("?sslmode=disable", "");
    // It has the name of the one that has signed, as a renewed one would.
    let stranger = Certificate::of("IP:127.0.0.1").authority;
    // Without an authority encryption is only preferred; in the clear, the password would go to whoever answers.
    for (database, why) in [
        (postgres(&server, &url), "UnknownIssuer"),
        (encrypted(&server, &url, &stranger), "BadSignature"),
    ] {
        let error = database.get(KEY).await.unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains("name that in storage.postgres.ca"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_given_authority_is_never_ignored() {
    let certificate = Certificate::of("IP:127.0.0.1");
    let (server, plain) = (Server::start_with_tls(&certificate), Server::start());
    let secure = server.url().replace("?sslmode=disable", "");
    let authority = certificate.authority.as_str();
    for (server, url, authority, host, words) in [
        (
            &plain,
            secure.as_str(),
            authority,
            "127.0.0.1",
            "server does not support TLS",
        ),
        (&server, &server.url(), authority, "127.0.0.1", "sslmode=disable"),
        (&server, &secure, "no PEM", "127.0.0.1", "ca holds no certificate"),
        (
            &server,
            &secure,
            authority,
            "localhost",
            "certificate not valid for name \"localhost\"",
        ),
    ] {
        let database = Postgres::new(PostgresSettings {
            ca_file: Some(server.file("ca", authority)),
            host: host.into(),
            ..settings(server, url)
        });
        let error = database.get(KEY).await.unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains(PASSWORD), "{words}: {error}");
    }
}
