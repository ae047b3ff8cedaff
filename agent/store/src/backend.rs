//! What every backend can do.

use std::time::Duration;

use async_trait::async_trait;

use crate::StoreError;

/// Largest entry.
pub const MAX_ENTRY: usize = 8 << 20;

/// Where an entry is. Nothing in it holds NUL, which a database cannot keep in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Whose it is.
    pub owner: &'a str,
    /// What it is.
    pub kind: &'a str,
    /// Its name among those of its kind.
    pub name: &'a str,
}

/// Keeps entries. One that has outlived its lifetime is as good as gone, whether or not it was swept yet.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The entry at `key`.
    ///
    /// # Errors
    /// When the backend cannot be used.
    async fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError>;

    /// Those entries of `owner` and `kind` that have one of `names`, each of which comes once, in any order.
    ///
    /// # Errors
    /// When the backend cannot be used.
    async fn get_many(&self, owner: &str, kind: &str, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Keeps `value` at `key`, in place of what is there, for as long as `lifetime` or for good.
    ///
    /// # Errors
    /// When there is no room, or the backend cannot be used.
    async fn put(&self, key: Key<'_>, value: &[u8], lifetime: Option<Duration>) -> Result<(), StoreError>;

    /// Like [`put`](Self::put), if what is there is `expected`; `None` stands for nothing. Says whether it was.
    ///
    /// # Errors
    /// When there is no room, or the backend cannot be used.
    async fn swap(
        &self,
        key: Key<'_>,
        expected: Option<&[u8]>,
        value: &[u8],
        lifetime: Option<Duration>,
    ) -> Result<bool, StoreError>;

    /// Forgets the entry at `key`. Says whether there was one.
    ///
    /// # Errors
    /// When the backend cannot be used.
    async fn delete(&self, key: Key<'_>) -> Result<bool, StoreError>;

    /// The entries whose names begin with that of `prefix`, in the order of the bytes of their names, at most `limit`.
    ///
    /// # Errors
    /// When the backend cannot be used.
    async fn list(&self, prefix: Key<'_>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Frees the room of entries that have outlived their lifetimes, and says of how many.
    ///
    /// # Errors
    /// When the backend cannot be used.
    async fn sweep(&self) -> Result<u64, StoreError>;
}
