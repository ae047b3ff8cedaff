//! The children of an McpServer: pods for a server in an image, nothing for one that runs elsewhere.

use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, PodSpec, Probe, TCPSocketAction, Volume, VolumeMount},
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{Objects, Parent, network, pods};
use crate::{
    inputs::Settings,
    labels::Component,
    valid::{Transport, ValidMcpServer},
};

/// The children of an McpServer.
pub fn mcp_server_objects(server: &ValidMcpServer, settings: &Settings) -> Objects {
    let Transport::Http {
        image,
        image_pull_secrets,
        port,
        egress,
        replicas,
        resources,
        ..
    } = &server.transport
    else {
        return Objects::default();
    };
    let parent = Parent {
        component: Component::McpServer,
        owner: &server.owner,
    };
    let container = Container {
        name: "server".into(),
        image: Some(image.clone()),
        ports: Some(pods::http_port(*port)),
        resources: Some(pods::resources(resources.as_ref(), ("64Mi", "512Mi"))),
        volume_mounts: Some(vec![VolumeMount {
            name: "tmp".into(),
            mount_path: "/tmp".into(),
            ..VolumeMount::default()
        }]),
        startup_probe: Some(Probe {
            failure_threshold: Some(120),
            ..probe(*port, 1)
        }),
        readiness_probe: Some(Probe {
            failure_threshold: Some(2),
            ..probe(*port, 5)
        }),
        ..Container::default()
    };
    let pod = PodSpec {
        containers: vec![container],
        volumes: Some(vec![tmp()]),
        image_pull_secrets: pods::image_pull_secrets(image_pull_secrets.as_deref(), settings),
        termination_grace_period_seconds: Some(30),
        ..PodSpec::default()
    };
    Objects {
        service_account: Some(parent.service_account()),
        config_map: None,
        network_policy: Some(network::mcp_server_policy(parent, *port, *egress, settings)),
        service: Some(parent.service("ClusterIP", *port, *port)),
        volume_claim: None,
        deployment: Some(pods::deployment(parent, *replicas, None, pod)),
    }
}

/// Whether the port is open: what a server answers to a plain GET differs from one to the next.
fn probe(port: i32, period_seconds: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(port),
            host: None,
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn tmp() -> Volume {
    Volume {
        name: "tmp".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("64Mi".into())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}
