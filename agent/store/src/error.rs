//! Why something cannot be kept or found.

use thiserror::Error;

/// Why something cannot be kept or found. Says nothing that is secret, but names files and hosts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// One entry is too large.
    #[error("{bytes} bytes are more than the {most} that one entry may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        most: usize,
    },
    /// There is no room.
    #[error("the storage is full: {0}")]
    Full(String),
    /// It works, and does not take this.
    #[error("the storage does not take this: {0}")]
    Refused(String),
    /// It does not answer, or not as it should.
    #[error("the storage cannot be used: {0}")]
    Unavailable(String),
    /// What was kept is not what is looked for.
    #[error("the entry {name} is not what it should be: {reason}")]
    Unreadable {
        /// Name of the entry.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Others change the entry all the time.
    #[error("the entry {0} was changed by others again and again")]
    Contended(String),
}
