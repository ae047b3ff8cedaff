//! The children of a resource, as they should be. Nothing in here can fail.

mod agent;
mod config;
mod mcp_server;
mod network;
mod pods;
mod skills;
mod telemetry;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount, ServicePort, ServiceSpec},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::{
    labels::{self, Component},
    names,
    valid::Owner,
};

pub use agent::agent_objects;
pub use config::{KeyOf, agent_config, keys};
pub use mcp_server::mcp_server_objects;

/// The children of one resource. What is absent should not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Identity of the pods, without permissions.
    pub service_account: Option<ServiceAccount>,
    /// Configuration of the pods.
    pub config_map: Option<ConfigMap>,
    /// What the pods may reach and be reached by. Before the pods, so that none is ever without it.
    pub network_policy: Option<NetworkPolicy>,
    /// Address of the pods.
    pub service: Option<Service>,
    /// What the pod keeps. Unlike the others it stays when it is no longer asked for, and goes with the resource.
    pub volume_claim: Option<PersistentVolumeClaim>,
    /// The pods.
    pub deployment: Option<Deployment>,
}

/// A resource whose children are being built: their names, labels and owner.
#[derive(Clone, Copy)]
struct Parent<'a> {
    component: Component,
    owner: &'a Owner,
}

impl Parent<'_> {
    fn child_name(self) -> String {
        match self.component {
            Component::Agent => names::agent_child(&self.owner.name),
            Component::McpServer => names::mcp_server_child(&self.owner.name),
        }
    }

    fn labels(self) -> BTreeMap<String, String> {
        labels::labels(self.component, &self.owner.name)
    }

    fn selector(self) -> BTreeMap<String, String> {
        labels::selector(self.component, &self.owner.name)
    }

    fn metadata(self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.child_name()),
            namespace: Some(self.owner.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner.reference.clone()]),
            ..ObjectMeta::default()
        }
    }

    fn service_account(self) -> ServiceAccount {
        ServiceAccount {
            metadata: self.metadata(),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }
    }

    fn service(self, type_: &str, port: i32, target: i32) -> Service {
        let port = ServicePort {
            name: Some("http".into()),
            port,
            protocol: Some("TCP".into()),
            target_port: Some(IntOrString::Int(target)),
            ..ServicePort::default()
        };
        let spec = ServiceSpec {
            type_: Some(type_.into()),
            selector: Some(self.selector()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        };
        Service {
            metadata: self.metadata(),
            spec: Some(spec),
            ..Service::default()
        }
    }
}
