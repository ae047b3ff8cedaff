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

use crate::{children::Children, object::Object, queue::Queue};

/// Objects that a list brings at a time: what is read at once is held in memory at once.
const PAGE_SIZE: u32 = 100;

/// Everything that is known of the cluster.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) agents: Store<Object<Agent>>,
    pub(crate) mcp_servers: Store<Object<McpServer>>,
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
    pub(crate) agents: Arc<Queue<Object<Agent>>>,
    pub(crate) mcp_servers: Arc<Queue<Object<McpServer>>>,
}

/// A kind that is watched.
pub(crate) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// A kind that is reconciled. What cannot be read of it is seen, too; kinds of Kubernetes itself only ever get new fields.
pub(crate) trait Parent: Watched {
    fn store(stores: &Stores) -> &Store<Object<Self>>;
}

/// A kind that is applied.
pub(crate) trait Child: Watched + Serialize {
    fn children(stores: &Stores) -> &Children<Self>;
}

macro_rules! watched {
    ($($role:ident $kind:ident: $function:ident -> $store:ty, $field:ident);* $(;)?) => {
        $(
            impl Watched for $kind {}

            impl $role for $kind {
                fn $function(stores: &Stores) -> &$store {
                    &stores.$field
                }
            }
        )*
    };
}

watched! {
    Parent Agent: store -> Store<Object<Self>>, agents;
    Parent McpServer: store -> Store<Object<Self>>, mcp_servers;
    Child ServiceAccount: children -> Children<Self>, service_accounts;
    Child ConfigMap: children -> Children<Self>, config_maps;
    Child NetworkPolicy: children -> Children<Self>, network_policies;
    Child Service: children -> Children<Self>, services;
    Child PersistentVolumeClaim: children -> Children<Self>, volume_claims;
    Child Deployment: children -> Children<Self>, deployments;
}

impl<K: Parent> Watched for Object<K> {}

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
    fn agents(&self, stores: &Stores, mut writer: Writer<Object<Agent>>) {
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
    fn mcp_servers(&self, stores: &Stores, mut writer: Writer<Object<McpServer>>) {
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
    fn children<K: Child>(
        &self,
        agents: &Store<Object<Agent>>,
        mcp_servers: &Store<Object<McpServer>>,
    ) -> Arc<Children<K>> {
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

fn names(agent: &Object<Agent>, server: &Object<McpServer>) -> bool {
    let server = server.meta();
    agent.readable().is_some_and(|agent| {
        let mcp = agent.spec.tools.mcp.as_ref();
        let mut servers = mcp.iter().flat_map(|mcp| &mcp.servers);
        agent.metadata.namespace == server.namespace && servers.any(|named| Some(&named.name) == server.name.as_ref())
    })
}

fn hands_off(agent: &Object<Agent>, to: &Object<Agent>) -> bool {
    let to = to.meta();
    agent.readable().is_some_and(|agent| {
        let mut handoffs = agent.spec.handoffs.iter();
        agent.metadata.namespace == to.namespace
            && handoffs.any(|handoff| handoff.type_ == HandoffType::Agent && handoff.target == to.name)
    })
}

#[cfg(test)]
mod tests;
