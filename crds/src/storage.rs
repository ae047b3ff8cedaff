//! `spec.storage` of an Agent: where it keeps what must outlive a request.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::SecretKeyRef;

/// Where an agent keeps what must outlive a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Storage {
    /// `Ephemeral` is the memory of each pod, `Volume` a volume of the agent's own, `Postgres` a database that all of its
    /// pods share.
    #[serde(rename = "type")]
    pub type_: StorageType,
    /// The volume, when the type is `Volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// The database, when the type is `Postgres`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
}

/// Kinds of storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageType {
    /// The memory of each pod.
    #[default]
    Ephemeral,
    /// A volume of the agent's own.
    Volume,
    /// A PostgreSQL database.
    Postgres,
}

/// A volume of the agent's own: it stays through every edit of the agent, and goes when the agent is deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = volume_rules()))]
pub struct Volume {
    /// Its size. It can grow where the storage class allows it, and never shrink.
    #[schemars(schema_with = "size")]
    pub size: Quantity,
    /// Its storage class; the cluster's default when absent. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$"))]
    pub storage_class_name: Option<String>,
}

/// A PostgreSQL database, which agents may share: each has its own entries in the tables `rockbot_*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    /// Name or address of the database's host; it stands in for the one in the URL, and the agent's pods may reach it.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$")
    )]
    pub host: String,
    /// Port of the database.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Where the URL is, which has the user and the password: `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub url: DatabaseUrl,
    /// Who signs the database's certificate; the authorities that the agent's image trusts when absent. With it, connections
    /// are always encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authorities>,
}

/// The URL of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseUrl {
    /// Secret of the agent's namespace. It is mounted as a file; a changed URL is used for each new connection.
    pub secret_key_ref: SecretKeyRef,
}

/// Authorities that sign certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorities {
    /// Secret of the agent's namespace with their certificates, as PEM. It is mounted as a file; changed ones count for each
    /// new connection.
    pub secret_key_ref: SecretKeyRef,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            size: Quantity("1Gi".to_owned()),
            storage_class_name: None,
        }
    }
}

fn postgres_port() -> i32 {
    5432
}

/// A quantity of bytes, as the API server itself accepts it, but for fractions and exponents.
fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 24,
        "pattern": "^[1-9][0-9]*([KMGTPE]i|[kMGTPE])?$",
    })
}

/// What holds between the type and its settings; and what an edit may do to a volume that only one side of it describes, where
/// [`volume_rules`] are not asked.
fn rules() -> Value {
    let Quantity(size) = Volume::default().size;
    json!([
        {
            "rule": "self.type == 'Volume' || !has(self.volume)",
            "message": "volume is about the type Volume; leave it out or set type to Volume",
        },
        {
            "rule": "(self.type == 'Postgres') == has(self.postgres)",
            "message": "postgres is required when type is Postgres, and must be absent otherwise",
        },
        {
            "rule": format!(
                "self.type != 'Volume' || has(self.volume) || !has(oldSelf.volume) \
                 || (quantity(oldSelf.volume.size).compareTo(quantity('{size}')) <= 0 && !has(oldSelf.volume.storageClassName))"
            ),
            "message": format!(
                "volume cannot be left out any more: that would be {size} of the default storage class, and a volume cannot \
                 shrink or change its class"
            ),
        },
        {
            "rule": format!(
                "oldSelf.type != 'Volume' || has(oldSelf.volume) || !has(self.volume) \
                 || (quantity(self.volume.size).compareTo(quantity('{size}')) >= 0 && !has(self.volume.storageClassName))"
            ),
            "message": format!(
                "volume: there is one of {size} of the default storage class, and a volume cannot shrink or change its class"
            ),
        },
    ])
}

/// What an edit may do to a volume.
fn volume_rules() -> Value {
    json!([
        {
            "rule": "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
            "message": "size: a volume cannot shrink",
        },
        {
            "rule": "has(self.storageClassName) == has(oldSelf.storageClassName) \
                     && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "message": "storageClassName of a volume cannot be changed",
        },
    ])
}
