//! Rendered objects: parsed, addressed by kind and name, and read as the Kubernetes types that they claim to be.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{
    Metadata, Resource,
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        apps::v1::Deployment,
        core::v1::{LimitRange, Namespace, PodTemplateSpec, ResourceQuota, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One rendered object.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its `kind`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty for objects of the cluster.
    pub namespace: String,
    /// The whole object.
    pub object: Value,
}

impl Manifest {
    /// Parses the documents that `helm template` prints.
    ///
    /// # Errors
    /// When one is no Kubernetes object.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        let mut manifests = Vec::new();
        for document in serde_yaml::Deserializer::from_str(text) {
            let object = Value::deserialize(document)?;
            if !object.is_null() {
                manifests.push(Self::parse(object)?);
            }
        }
        Ok(manifests)
    }

    fn parse(object: Value) -> Result<Self> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            kind: text("/kind").with_context(|| format!("no kind: {object}"))?,
            name: text("/metadata/name").with_context(|| format!("no name: {object}"))?,
            namespace: text("/metadata/namespace").unwrap_or_default(),
            object,
        })
    }

    /// `Kind namespace/name`, for messages.
    pub fn id(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }

    /// The object as the Kubernetes type `K`.
    ///
    /// # Errors
    /// When it has other types than `K`, or a field that `K` does not have: a misspelt field is not ignored.
    pub fn read<K: Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned>(&self) -> Result<K> {
        let typed: K = serde_json::from_value(self.object.clone()).with_context(|| self.id())?;
        let known = serde_json::to_value(&typed)?;
        if let Some(lost) = lost(&self.object, &known, "").first() {
            bail!("{}: {lost} is no field of {}", self.id(), K::KIND);
        }
        Ok(typed)
    }

    /// Reads the object as the type that its kind names.
    ///
    /// # Errors
    /// As [`Manifest::read`]; and for a kind that no chart is expected to have.
    pub fn check(&self) -> Result<()> {
        match self.kind.as_str() {
            "ClusterRole" => self.read::<ClusterRole>().map(drop),
            "ClusterRoleBinding" => self.read::<ClusterRoleBinding>().map(drop),
            "CustomResourceDefinition" => self.read::<CustomResourceDefinition>().map(drop),
            "Deployment" => self.read::<Deployment>().map(drop),
            "LimitRange" => self.read::<LimitRange>().map(drop),
            "Namespace" => self.read::<Namespace>().map(drop),
            "NetworkPolicy" => self.read::<NetworkPolicy>().map(drop),
            "PodDisruptionBudget" => self.read::<PodDisruptionBudget>().map(drop),
            "ResourceQuota" => self.read::<ResourceQuota>().map(drop),
            "Role" => self.read::<Role>().map(drop),
            "RoleBinding" => self.read::<RoleBinding>().map(drop),
            "Service" => self.read::<Service>().map(drop),
            "ServiceAccount" => self.read::<ServiceAccount>().map(drop),
            "ValidatingAdmissionPolicy" => self.read::<ValidatingAdmissionPolicy>().map(drop),
            "ValidatingAdmissionPolicyBinding" => self.read::<ValidatingAdmissionPolicyBinding>().map(drop),
            // Prometheus operator's kind: no type of Kubernetes itself.
            "ServiceMonitor" => Ok(()),
            _ => bail!("{}: an unexpected kind; if the chart needs it, add it here", self.id()),
        }
    }

    /// The pod template, for kinds that have one.
    ///
    /// # Errors
    /// When it is no pod template.
    pub fn pod_template(&self) -> Result<Option<PodTemplateSpec>> {
        let template = self.object.pointer("/spec/template").cloned();
        Ok(template.map(serde_json::from_value).transpose()?)
    }
}

/// The object of `kind` and `name`.
///
/// # Errors
/// When there is none, or more than one.
pub fn find<'a>(manifests: &'a [Manifest], kind: &str, name: &str) -> Result<&'a Manifest> {
    let mut found = manifests
        .iter()
        .filter(|manifest| manifest.kind == kind && manifest.name == name);
    let first = found.next().with_context(|| format!("no {kind} {name}"))?;
    ensure!(found.next().is_none(), "more than one {kind} {name}");
    Ok(first)
}

/// Paths that `object` has and `known` has not.
fn lost(object: &Value, known: &Value, path: &str) -> Vec<String> {
    match (object, known) {
        (Value::Object(object), Value::Object(known)) => object
            .iter()
            .flat_map(|(key, value)| match known.get(key) {
                Some(known) => lost(value, known, &format!("{path}.{key}")),
                None => vec![format!("{path}.{key}")],
            })
            .collect(),
        (Value::Array(object), Value::Array(known)) => object
            .iter()
            .zip(known)
            .enumerate()
            .flat_map(|(index, (value, known))| lost(value, known, &format!("{path}[{index}]")))
            .collect(),
        _ => Vec::new(),
    }
}
