//! Entries in a PostgreSQL database, which several processes and agents share.
//!
//! One connection serves a process: the protocol takes a query before the one before it is answered, and a database
//! has to bear the connections of many agents. It is made when it is needed, and anew after a failure.

mod connect;
mod schema;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::timeout};
use tokio_postgres::{
    Client, Error, Row,
    types::{ToSql, Type},
};

use crate::{Backend, Key, StoreError};

/// How long one operation may take, with the connection that it may need.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long nobody tries to connect after a failure: until then it is told to everybody.
const PAUSE: Duration = Duration::from_secs(1);
/// Entries that are swept with one statement.
const SWEEP: i64 = 1000;

/// Where the database is.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// File that holds the URL with user, password and database; read again for each connection.
    pub url_file: PathBuf,
    /// File with the certificates of those who sign the database's own, as PEM; read again for each connection. With it, a
    /// connection is always encrypted; without it, those that the system trusts count.
    pub ca_file: Option<PathBuf>,
    /// Host of the database.
    pub host: String,
    /// Port of the database.
    pub port: u16,
}

/// Entries in a PostgreSQL database.
pub struct Postgres {
    settings: PostgresSettings,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    client: Option<Arc<Client>>,
    failure: Option<(Instant, StoreError)>,
}

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Postgres {
    /// Entries in the database that `settings` lead to.
    pub fn new(settings: PostgresSettings) -> Self {
        Self {
            settings,
            connection: Mutex::default(),
        }
    }

    /// Runs one statement.
    async fn run(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut used = None;
        let work = async {
            let client = used.insert(self.client().await?);
            let rows = client.query_typed(statement, parameters).await;
            rows.map_err(|error| failed(&error))
        };
        let result = timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(late()));
        if let (Err(error), Some(client)) = (&result, used)
            && !matches!(error, StoreError::Refused(_))
        {
            self.give_up(&client).await;
        }
        result
    }

    async fn client(&self) -> Result<Arc<Client>, StoreError> {
        let mut connection = self.connection.lock().await;
        if let Some(client) = connection.client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        if let Some((_, error)) = connection.failure.as_ref().filter(|(since, _)| since.elapsed() < PAUSE) {
            return Err(error.clone());
        }
        // What is in the way of one connection is told to all that wait for it, before their own time is over.
        let made = timeout(DEADLINE / 2, connect::connect(&self.settings)).await;
        match made.unwrap_or_else(|_| Err(late())) {
            Ok(client) => Ok(Arc::clone(connection.client.insert(Arc::new(client)))),
            Err(error) => {
                connection.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// A connection that has failed once may be stuck, or lead to where the tables are no more: the next query makes
    /// another.
    async fn give_up(&self, failed: &Arc<Client>) {
        let mut connection = self.connection.lock().await;
        connection.client.take_if(|client| Arc::ptr_eq(client, failed));
    }
}

/// Why a statement failed. Where its values are to blame, the connection is as good as before, and so is the database.
fn failed(error: &Error) -> StoreError {
    /// Classes of states: data exceptions, and limits that are exceeded.
    const OF_VALUES: [&str; 2] = ["22", "54"];
    let state = error.code().map_or("", |state| state.code());
    match OF_VALUES.iter().any(|class| state.starts_with(class)) {
        true => StoreError::Refused(connect::causes(error)),
        false => connect::failed(error),
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("the database did not answer in time".to_owned())
}

/// Milliseconds; what stays has none.
fn milliseconds(lifetime: Option<Duration>) -> Option<i64> {
    lifetime.map(|lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 1000))
}

const GET: &str = "SELECT value FROM rockbot_entries
    WHERE owner = $1 AND kind = $2 AND name = $3 AND (ends_at IS NULL OR ends_at > now())";

const GET_MANY: &str = "SELECT name, value FROM rockbot_entries
    WHERE owner = $1 AND kind = $2 AND name = ANY($3) AND (ends_at IS NULL OR ends_at > now())";

const PUT: &str = "INSERT INTO rockbot_entries (owner, kind, name, value, ends_at)
    VALUES ($1, $2, $3, $4, now() + $5 * interval '1 millisecond')
    ON CONFLICT (owner, kind, name) DO UPDATE SET value = excluded.value, ends_at = excluded.ends_at";

const PUT_IF_ABSENT: &str = "INSERT INTO rockbot_entries AS present (owner, kind, name, value, ends_at)
    VALUES ($1, $2, $3, $4, now() + $5 * interval '1 millisecond')
    ON CONFLICT (owner, kind, name) DO UPDATE SET value = excluded.value, ends_at = excluded.ends_at
    WHERE present.ends_at <= now() RETURNING 1";

const REPLACE: &str = "UPDATE rockbot_entries SET value = $4, ends_at = now() + $5 * interval '1 millisecond'
    WHERE owner = $1 AND kind = $2 AND name = $3 AND value = $6 AND (ends_at IS NULL OR ends_at > now()) RETURNING 1";

const DELETE: &str = "DELETE FROM rockbot_entries WHERE owner = $1 AND kind = $2 AND name = $3
    RETURNING ends_at IS NULL OR ends_at > now()";

const LIST: &str = "SELECT name, value FROM rockbot_entries
    WHERE owner = $1 AND kind = $2 AND name >= $3 AND starts_with(name, $3) AND (ends_at IS NULL OR ends_at > now())
    ORDER BY name LIMIT $4";

const SWEEP_SOME: &str = "DELETE FROM rockbot_entries WHERE ctid IN
    (SELECT ctid FROM rockbot_entries WHERE ends_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING 1";

#[async_trait]
impl Backend for Postgres {
    async fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.run(GET, &of(&key)).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn get_many(&self, owner: &str, kind: &str, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let parameters: [Parameter<'_>; 3] = [(&owner, Type::TEXT), (&kind, Type::TEXT), (&names, Type::TEXT_ARRAY)];
        let rows = self.run(GET_MANY, &parameters).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn put(&self, key: Key<'_>, value: &[u8], lifetime: Option<Duration>) -> Result<(), StoreError> {
        let lifetime = milliseconds(lifetime);
        let [owner, kind, name] = of(&key);
        let parameters = [owner, kind, name, (&value, Type::BYTEA), (&lifetime, Type::INT8)];
        self.run(PUT, &parameters).await.map(drop)
    }

    async fn swap(
        &self,
        key: Key<'_>,
        expected: Option<&[u8]>,
        value: &[u8],
        lifetime: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let lifetime = milliseconds(lifetime);
        let [owner, kind, name] = of(&key);
        let mut parameters = vec![owner, kind, name, (&value, Type::BYTEA), (&lifetime, Type::INT8)];
        let statement = match &expected {
            None => PUT_IF_ABSENT,
            Some(expected) => {
                parameters.push((expected, Type::BYTEA));
                REPLACE
            }
        };
        Ok(!self.run(statement, &parameters).await?.is_empty())
    }

    async fn delete(&self, key: Key<'_>) -> Result<bool, StoreError> {
        let rows = self.run(DELETE, &of(&key)).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    async fn list(&self, prefix: Key<'_>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let [owner, kind, name] = of(&prefix);
        let rows = self.run(LIST, &[owner, kind, name, (&limit, Type::INT8)]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let some = self.run(SWEEP_SOME, &[(&SWEEP, Type::INT8)]).await?.len() as u64;
            swept += some;
            if some < SWEEP as u64 {
                return Ok(swept);
            }
        }
    }
}

fn of<'a>(key: &'a Key<'_>) -> [Parameter<'a>; 3] {
    [
        (&key.owner, Type::TEXT),
        (&key.kind, Type::TEXT),
        (&key.name, Type::TEXT),
    ]
}
