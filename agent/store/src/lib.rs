//! What an agent keeps beyond a request: entries by kind and name, in memory, in a file of a volume, or in PostgreSQL.
//!
//! Every backend means the same, which one set of tests shows. Knows nothing of what is kept.

mod backend;
mod ephemeral;
mod error;
mod postgres;
mod space;
mod stores;
mod volume;

pub use backend::{Backend, Key, MAX_ENTRY};
pub use ephemeral::Ephemeral;
pub use error::StoreError;
pub use postgres::{Postgres, PostgresSettings};
pub use space::{Entry, Space};
pub use stores::{Store, Stores};
pub use volume::Volume;
