//! What is special about a database: others use it, it goes away and comes back, and it wants a password.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use rockbot_agent_store::{Backend, Key, Postgres, PostgresSettings, Store, StoreError};
use rockbot_test_postgres::{PASSWORD, Server};
use tokio_postgres::NoTls;

use crate::conformance;

const KEY: Key<'_> = Key {
    owner: "me",
    kind: "x",
    name: "k",
};

fn postgres(server: &Server, url: &str) -> Postgres {
    Postgres::new(PostgresSettings {
        url_file: server.file("url", url),
        host: "127.0.0.1".into(),
        port: server.port(),
    })
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
    let url = server
        .url()
        .replace("nowhere.invalid", &format!("127.0.0.1:{}", server.port()));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
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
