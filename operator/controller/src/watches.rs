//! What the cluster looks like: one watch per kind, the stores that they fill, and who is to be reconciled when something
//! changes. They run on every replica, so that each can serve the HTTP API and take over at once.

use std::{fmt::Debug, future::ready, sync::Arc};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use rockbot_crds::{Agent, McpServer, skills::HandoffType};
use rockbot_operator_plan::MANAGED_SELECTOR;
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{children::Children, queue::Queue};

/// Objects that a list brings at a time: what is read at once is held in memory at once.
const PAGE_SIZE: u32 = 100;

/// Everything that is known of the cluster.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) agents: Store<Agent>,
    pub(crate) mcp_servers: Store<McpServer>,
    service_accounts: Arc<Children<ServiceAccount>>,
    config_maps: Arc<Children<ConfigMap>>,
    network_policies: Arc<Children<NetworkPolicy>>,
    services: Arc<Children<Service>>,
    volume_claims: Arc<Children<PersistentVolumeClaim>>,
    deployments: Arc<Children<Deployment>>,
}

/// Who is to be reconciled.
#[derive(Clone, Default)]
pub(crate) struct Queues {
    pub(crate) agents: Arc<Queue<Agent>>,
    pub(crate) mcp_servers: Arc<Queue<McpServer>>,
}

/// A kind that is watched.
pub(crate) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

/// A kind that is reconciled.
pub(crate) trait Parent: Watched {
    fn store(stores: &Stores) -> &Store<Self>;
}

/// A kind that is applied.
pub(crate) trait Child: Watched {
    fn children(stores: &Stores) -> &Children<Self>;
}

macro_rules! watched {
    ($($role:ident $kind:ident: $function:ident -> $store:ident, $field:ident);* $(;)?) => {
        $(
            impl Watched for $kind {}

            impl $role for $kind {
                fn $function(stores: &Stores) -> &$store<Self> {
                    &stores.$field
                }
            }
        )*
    };
}

watched! {
    Parent Agent: store -> Store, agents;
    Parent McpServer: store -> Store, mcp_servers;
    Child ServiceAccount: children -> Children, service_accounts;
    Child ConfigMap: children -> Children, config_maps;
    Child NetworkPolicy: children -> Children, network_policies;
    Child Service: children -> Children, services;
    Child PersistentVolumeClaim: children -> Children, volume_claims;
    Child Deployment: children -> Children, deployments;
}

/// Starts all watches.
pub(crate) fn start(client: &Client, tasks: &TaskTracker, stop: &CancellationToken) -> (Stores, Queues) {
    let queues = Queues::default();
    let watches = Watches {
        client,
        tasks,
        stop,
        queues: &queues,
    };
    let (agents, agents_writer) = reflector::store();
    let (mcp_servers, mcp_servers_writer) = reflector::store();
    let stores = Stores {
        service_accounts: watches.children(&agents, &mcp_servers),
        config_maps: watches.children(&agents, &mcp_servers),
        network_policies: watches.children(&agents, &mcp_servers),
        services: watches.children(&agents, &mcp_servers),
        volume_claims: watches.children(&agents, &mcp_servers),
        deployments: watches.children(&agents, &mcp_servers),
        agents,
        mcp_servers,
    };
    watches.agents(&stores, agents_writer);
    watches.mcp_servers(&stores, mcp_servers_writer);
    (stores, queues)
}

impl Stores {
    /// Waits until every store holds what the cluster held when its watch began.
    pub(crate) async fn ready(&self) {
        // A writer is dropped only when the process ends, and then nobody waits any more.
        let _ = tokio::join!(
            self.agents.wait_until_ready(),
            self.mcp_servers.wait_until_ready(),
            self.service_accounts.wait_until_ready(),
            self.config_maps.wait_until_ready(),
            self.network_policies.wait_until_ready(),
            self.services.wait_until_ready(),
            self.volume_claims.wait_until_ready(),
            self.deployments.wait_until_ready(),
        );
    }
}

/// Queues everything that a store holds.
pub(crate) fn add_all<K: Resource<DynamicType = ()> + Clone + 'static>(queue: &Queue<K>, store: &Store<K>) {
    for object in store.state() {
        queue.add(ObjectRef::from_obj(&object));
    }
}

struct Watches<'a> {
    client: &'a Client,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
    queues: &'a Queues,
}

impl Watches<'_> {
    /// An Agent that changes is reconciled, and so is every agent that hands tasks to it.
    fn agents(&self, stores: &Stores, mut writer: Writer<Agent>) {
        let queue = Arc::clone(&self.queues.agents);
        let store = stores.agents.clone();
        self.watch("", move |event| {
            writer.apply_watcher_event(event);
            match touched(event) {
                Touched::One(agent) => {
                    queue.add(ObjectRef::from_obj(agent));
                    for other in store.state_filter(|other| hands_off(other, agent)) {
                        queue.add(ObjectRef::from_obj(&other));
                    }
                }
                Touched::Any => add_all(&queue, &store),
                Touched::None => {}
            }
        });
    }

    /// An McpServer that changes is reconciled, and so is every agent that names it.
    fn mcp_servers(&self, stores: &Stores, mut writer: Writer<McpServer>) {
        let Queues { agents, mcp_servers } = self.queues.clone();
        let stores = stores.clone();
        self.watch("", move |event| {
            writer.apply_watcher_event(event);
            match touched(event) {
                Touched::One(server) => {
                    mcp_servers.add(ObjectRef::from_obj(server));
                    for agent in stores.agents.state_filter(|agent| names(agent, server)) {
                        agents.add(ObjectRef::from_obj(&agent));
                    }
                }
                Touched::Any => {
                    add_all(&mcp_servers, &stores.mcp_servers);
                    add_all(&agents, &stores.agents);
                }
                Touched::None => {}
            }
        });
    }

    /// A child that changes has its owner reconciled.
    fn children<K: Child>(&self, agents: &Store<Agent>, mcp_servers: &Store<McpServer>) -> Arc<Children<K>> {
        let children = Arc::new(Children::default());
        let queues = self.queues.clone();
        let (seen, agents, mcp_servers) = (Arc::clone(&children), agents.clone(), mcp_servers.clone());
        self.watch(MANAGED_SELECTOR, move |event| {
            seen.see(event);
            match touched(event) {
                Touched::One(child) => queues.add_owners(child),
                Touched::Any => {
                    add_all(&queues.agents, &agents);
                    add_all(&queues.mcp_servers, &mcp_servers);
                }
                Touched::None => {}
            }
        });
        children
    }

    /// Watches the objects of a kind with certain labels.
    fn watch<K: Watched>(&self, labels: &str, mut see: impl FnMut(&Event<K>) + Send + 'static) {
        let config = watcher::Config::default().labels(labels).page_size(PAGE_SIZE);
        let events = watcher(Api::<K>::all(self.client.clone()), config)
            .default_backoff()
            .modify(|object| {
                // Nobody reads it, and it is larger than the rest of most objects.
                object.meta_mut().managed_fields = None;
            })
            .take_until(self.stop.clone().cancelled_owned());
        self.tasks.spawn(events.for_each(move |event| {
            match &event {
                Ok(event) => see(event),
                Err(error) => {
                    let error: &dyn std::error::Error = error;
                    warn!(kind = %K::kind(&()), error, "a watch failed; it is tried again");
                }
            }
            ready(())
        }));
    }
}

/// What an event is about.
enum Touched<'a, K> {
    One(&'a K),
    /// The watch began anew: deletions may have been missed.
    Any,
    None,
}

fn touched<K>(event: &Event<K>) -> Touched<'_, K> {
    match event {
        Event::Apply(object) | Event::Delete(object) => Touched::One(object),
        Event::InitDone => Touched::Any,
        Event::Init | Event::InitApply(_) => Touched::None,
    }
}

impl Queues {
    fn add_owners<K: Child>(&self, child: &K) {
        let namespace = child.meta().namespace.as_deref();
        for owner in child.owner_references() {
            if let Some(agent) = ObjectRef::from_owner_ref(namespace, owner, ()) {
                self.agents.add(agent);
            }
            if let Some(server) = ObjectRef::from_owner_ref(namespace, owner, ()) {
                self.mcp_servers.add(server);
            }
        }
    }
}

fn names(agent: &Agent, server: &McpServer) -> bool {
    let mcp = agent.spec.tools.mcp.as_ref();
    agent.metadata.namespace == server.metadata.namespace
        && mcp.is_some_and(|mcp| {
            mcp.servers
                .iter()
                .any(|named| Some(&named.name) == server.metadata.name.as_ref())
        })
}

fn hands_off(agent: &Agent, to: &Agent) -> bool {
    let handoffs = &agent.spec.handoffs;
    agent.metadata.namespace == to.metadata.namespace
        && handoffs
            .iter()
            .any(|handoff| handoff.type_ == HandoffType::Agent && handoff.target == to.metadata.name)
}
