//! The tables, and the version that they have.

use tokio_postgres::Client;

use super::connect::{failed, unavailable};
use crate::StoreError;

/// What this program reads and writes.
const VERSION: i32 = 1;

/// Who comes first makes the tables, while others wait for the lock: `IF NOT EXISTS` alone fails where two try at once.
const CREATE: &str = r#"BEGIN;
SELECT pg_advisory_xact_lock(7426131953204);
CREATE TABLE IF NOT EXISTS rockbot_schema (version int NOT NULL);
CREATE TABLE IF NOT EXISTS rockbot_entries (
    owner text NOT NULL,
    kind text NOT NULL,
    name text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    ends_at timestamptz,
    PRIMARY KEY (owner, kind, name)
);
CREATE INDEX IF NOT EXISTS rockbot_entries_ends_at ON rockbot_entries (ends_at) WHERE ends_at IS NOT NULL;
INSERT INTO rockbot_schema SELECT 1 WHERE NOT EXISTS (SELECT FROM rockbot_schema);
COMMIT"#;

/// Makes the tables unless they are there. Where they are, no right to make any is needed.
pub(super) async fn ensure(client: &Client) -> Result<(), StoreError> {
    let exists = client
        .query_typed("SELECT to_regclass('rockbot_schema') IS NOT NULL", &[])
        .await
        .map_err(|error| failed(&error))?;
    if !exists.first().is_some_and(|row| row.get(0)) {
        client.batch_execute(CREATE).await.map_err(|error| failed(&error))?;
    }
    let version = client
        .query_typed("SELECT max(version) FROM rockbot_schema", &[])
        .await
        .map_err(|error| failed(&error))?;
    match version.first().and_then(|row| row.get::<_, Option<i32>>(0)) {
        Some(VERSION) => Ok(()),
        other => Err(unavailable(format!(
            "its tables have the version {}, and this program knows {VERSION}; run the program that made them, or \
             another database",
            other.map_or_else(|| "none".to_owned(), |version| version.to_string())
        ))),
    }
}
