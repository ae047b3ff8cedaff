//! Where an agent keeps what must outlive a request.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where an agent keeps what must outlive a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum StorageConfig {
    /// The memory of the process.
    #[default]
    Ephemeral,
    /// A file of a directory that one process at a time has.
    Volume {
        /// The directory.
        directory: PathBuf,
    },
    /// A PostgreSQL database, which several processes and agents may share.
    Postgres {
        /// File that holds the URL with user, password and database; read again for each new connection.
        url_file: PathBuf,
        /// File with the certificates of those who sign the database's own, as PEM; read again for each new connection. Those
        /// that the system trusts when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_file: Option<PathBuf>,
        /// Host of the database; stands in for the one in the URL.
        host: String,
        /// Port of the database; stands in for the one in the URL.
        port: u16,
        /// The agent's namespace: agents of the same name in different namespaces share nothing.
        namespace: String,
    },
}

impl StorageConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
