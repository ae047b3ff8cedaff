//! Where a valid Agent keeps things.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rockbot_crds::model::SecretKeyRef;

use crate::endpoint::Endpoint;

/// Where an agent keeps what must outlive a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// In the memory of each pod.
    Ephemeral,
    /// On a volume of its own.
    Volume {
        /// Its size.
        size: Quantity,
        /// Its storage class; the cluster's default when absent.
        storage_class_name: Option<String>,
    },
    /// In a database.
    Postgres {
        /// Secret with its URL.
        url: SecretKeyRef,
        /// Secret with the certificates of those who sign the database's own.
        ca: Option<SecretKeyRef>,
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// Where that is.
        endpoint: Endpoint,
    },
}

impl Storage {
    /// What must be reached over the network.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Postgres { endpoint, .. } => Some(endpoint),
            Self::Ephemeral | Self::Volume { .. } => None,
        }
    }
}
