//! What pods may reach and be reached by.
//!
//! Engines disagree whether an `ipBlock` covers pods. These policies mean the same in all of them: pods are named by
//! selectors, and only what is no pod by addresses. A Service's port says nothing about its pods' port, so rules for
//! Services that are not ours name no port.

use std::net::IpAddr;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use rockbot_crds::{agent::ServiceType, mcp_server::Egress};

use super::{Parent, agent::PORT};
use crate::{
    endpoint::{Endpoint, Reach},
    inputs::{References, Route, Settings},
    labels::{self, Component},
    valid::ValidAgent,
};

/// Port of the operator's and the scripts manager's pods.
const RELEASE_PORT: i32 = 8080;
/// Networks that are not the public internet.
const PRIVATE: [&str; 7] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];

pub(super) fn agent_policy(
    parent: Parent<'_>,
    agent: &ValidAgent,
    named: &References,
    settings: &Settings,
) -> NetworkPolicy {
    let callers = vec![
        peer(None, Some(LabelSelector::default())),
        peer(Some(labels::namespace(&settings.namespace)), None),
        peer(Some(labels::select([labels::ACCESS])), None),
    ];
    let mut egress = vec![dns(settings), release_service("operator", settings)];
    if agent.scripts.is_some() {
        egress.push(release_service("scripts-manager", settings));
    }
    for server in named.found() {
        match &server.route {
            Route::Pods { port } => {
                let pods = peer(None, Some(labels::pods_of(Component::McpServer, &server.name)));
                add(&mut egress, [to(vec![pods], vec![tcp(*port)])]);
            }
            Route::Elsewhere(endpoint) => add(&mut egress, reaching(endpoint, settings)),
        }
    }
    for pods in handed_to(agent) {
        add(&mut egress, [to(vec![peer(None, Some(pods))], vec![tcp(PORT)])]);
    }
    let models = agent.models().filter_map(|model| model.endpoint.as_ref());
    let receivers = settings.telemetry.iter().flat_map(|telemetry| &telemetry.receivers);
    for endpoint in models
        .chain(agent.skills.endpoints())
        .chain(agent.storage.endpoint())
        .chain(receivers)
    {
        add(&mut egress, reaching(endpoint, settings));
    }
    let ingress = match agent.service.0 {
        ServiceType::ClusterIP => from(callers, PORT),
        // Whoever comes from outside has any address, and behind some load balancers a node's.
        ServiceType::NodePort | ServiceType::LoadBalancer => from_everywhere(PORT),
    };
    policy(parent, vec![ingress], egress)
}

/// The agents that this one may hand tasks to. Which ones code of its own chooses is not known: all of its namespace then.
fn handed_to(agent: &ValidAgent) -> Vec<LabelSelector> {
    if agent.image.is_some() {
        return vec![labels::all_of(Component::Agent)];
    }
    let names = agent.skills.agents();
    names.map(|name| labels::pods_of(Component::Agent, name)).collect()
}

pub(super) fn mcp_server_policy(parent: Parent<'_>, port: i32, egress: Egress, settings: &Settings) -> NetworkPolicy {
    let callers = vec![
        peer(None, Some(labels::all_of(Component::Agent))),
        peer(
            Some(labels::namespace(&settings.namespace)),
            Some(labels::release_service("operator")),
        ),
    ];
    let egress = match egress {
        Egress::None => Vec::new(),
        Egress::Public => vec![dns(settings), to(vec![public()], Vec::new())],
    };
    policy(parent, vec![from(callers, port)], egress)
}

fn policy(
    parent: Parent<'_>,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector {
            match_labels: Some(parent.selector()),
            ..LabelSelector::default()
        }),
        policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
        ingress: Some(ingress),
        egress: (!egress.is_empty()).then_some(egress),
    };
    NetworkPolicy {
        metadata: parent.metadata(),
        spec: Some(spec),
    }
}

/// The rules that let pods reach an endpoint, if it takes any.
fn reaching(endpoint: &Endpoint, settings: &Settings) -> Vec<NetworkPolicyEgressRule> {
    let all_pods = || Some(LabelSelector::default());
    let port = || vec![tcp(endpoint.port.into())];
    let own = || peer(None, all_pods());
    let of_namespace = |name: &str| peer(Some(labels::namespace(name)), all_pods());
    let to_public = || {
        let extra = settings.model_egress_cidrs.iter().map(|cidr| block(cidr.clone()));
        to([public()].into_iter().chain(extra).collect(), port())
    };
    match &endpoint.reach {
        Reach::Itself => Vec::new(),
        Reach::OwnNamespace => vec![to(vec![own()], Vec::new())],
        Reach::Namespace(name) => vec![to(vec![of_namespace(name)], Vec::new())],
        Reach::Address(address) => vec![to(vec![block(single(*address))], port())],
        Reach::Public => vec![to_public()],
        // A pod that is named itself is reached by its own port.
        Reach::PodOrNamespaceOrPublic(name) => vec![
            to(vec![own()], port()),
            to(vec![of_namespace(name)], Vec::new()),
            to_public(),
        ],
    }
}

/// Adds the rules that are not there yet.
fn add(rules: &mut Vec<NetworkPolicyEgressRule>, more: impl IntoIterator<Item = NetworkPolicyEgressRule>) {
    for rule in more {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
}

fn dns(settings: &Settings) -> NetworkPolicyEgressRule {
    let pods = peer(Some(labels::namespace("kube-system")), Some(labels::dns_pods()));
    let peers = [pods]
        .into_iter()
        .chain(settings.dns_cidrs.iter().map(|cidr| block(cidr.clone())))
        .collect();
    to(peers, vec![port(53, "UDP"), port(53, "TCP")])
}

fn release_service(component: &str, settings: &Settings) -> NetworkPolicyEgressRule {
    let pods = peer(
        Some(labels::namespace(&settings.namespace)),
        Some(labels::release_service(component)),
    );
    to(vec![pods], vec![tcp(RELEASE_PORT)])
}

fn public() -> NetworkPolicyPeer {
    let except = Some(PRIVATE.iter().map(|&cidr| cidr.to_owned()).collect());
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: "0.0.0.0/0".into(),
            except,
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn single(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}/32"),
        IpAddr::V6(address) => format!("{address}/128"),
    }
}

fn block(cidr: String) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr, except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn peer(namespaces: Option<LabelSelector>, pods: Option<LabelSelector>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: namespaces,
        pod_selector: pods,
        ip_block: None,
    }
}

fn from(peers: Vec<NetworkPolicyPeer>, port: i32) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(peers),
        ports: Some(vec![tcp(port)]),
    }
}

/// From anybody, in the cluster or not: a rule without peers means that to every engine.
fn from_everywhere(port: i32) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: None,
        ports: Some(vec![tcp(port)]),
    }
}

fn to(peers: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(peers),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn tcp(number: i32) -> NetworkPolicyPort {
    port(number, "TCP")
}

fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.into()),
        end_port: None,
    }
}
