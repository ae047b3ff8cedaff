//! What the cluster looks like: one watch per kind, the stores that they fill, and who is to be reconciled when something
//! changes. They run on every replica, so that each can serve the HTTP API and take over at once.

use std::{fmt::Debug, sync::Arc};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use rockbot_crds::{Agent, McpServer};
use rockbot_operator_plan::MANAGED_SELECTOR;
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::queue::Queue;

/// Everything that is known of the cluster.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) agents: Store<Agent>,
    pub(crate) mcp_servers: Store<McpServer>,
    service_accounts: Store<ServiceAccount>,
    config_maps: Store<ConfigMap>,
    network_policies: Store<NetworkPolicy>,
    services: Store<Service>,
    deployments: Store<Deployment>,
}

/// Who is to be reconciled.
#[derive(Clone, Default)]
pub(crate) struct Queues {
    pub(crate) agents: Arc<Queue<Agent>>,
    pub(crate) mcp_servers: Arc<Queue<McpServer>>,
}

/// A kind that has a store.
pub(crate) trait Stored:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    fn store(stores: &Stores) -> &Store<Self>;
}

macro_rules! stored {
    ($($kind:ty: $field:ident),* $(,)?) => {
        $(impl Stored for $kind {
            fn store(stores: &Stores) -> &Store<Self> {
                &stores.$field
            }
        })*
    };
}

stored! {
    Agent: agents,
    McpServer: mcp_servers,
    ServiceAccount: service_accounts,
    ConfigMap: config_maps,
    NetworkPolicy: network_policies,
    Service: services,
    Deployment: deployments,
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
    fn agents(&self, stores: &Stores, writer: reflector::store::Writer<Agent>) {
        let queue = Arc::clone(&self.queues.agents);
        let store = stores.agents.clone();
        self.watch(watcher::Config::default(), writer, move |touched| match touched {
            Some(agent) => queue.add(ObjectRef::from_obj(agent)),
            None => add_all(&queue, &store),
        });
    }

    /// An McpServer that changes is reconciled, and so is every agent that names it.
    fn mcp_servers(&self, stores: &Stores, writer: reflector::store::Writer<McpServer>) {
        let queues = self.queues.clone();
        let stores = stores.clone();
        self.watch(watcher::Config::default(), writer, move |touched| {
            let Some(server) = touched else {
                add_all(&queues.mcp_servers, &stores.mcp_servers);
                return add_all(&queues.agents, &stores.agents);
            };
            queues.mcp_servers.add(ObjectRef::from_obj(server));
            for agent in stores.agents.state().iter().filter(|agent| names(agent, server)) {
                queues.agents.add(ObjectRef::from_obj(agent));
            }
        });
    }

    /// A child that changes has its owner reconciled.
    fn children<K: Stored>(&self, agents: &Store<Agent>, mcp_servers: &Store<McpServer>) -> Store<K> {
        let (store, writer) = reflector::store();
        let queues = self.queues.clone();
        let (agents, mcp_servers) = (agents.clone(), mcp_servers.clone());
        self.watch(
            watcher::Config::default().labels(MANAGED_SELECTOR),
            writer,
            move |touched: Option<&K>| {
                let Some(child) = touched else {
                    add_all(&queues.agents, &agents);
                    return add_all(&queues.mcp_servers, &mcp_servers);
                };
                let namespace = child.meta().namespace.as_deref();
                for owner in child.owner_references() {
                    if let Some(agent) = ObjectRef::from_owner_ref(namespace, owner, ()) {
                        queues.agents.add(agent);
                    }
                    if let Some(server) = ObjectRef::from_owner_ref(namespace, owner, ()) {
                        queues.mcp_servers.add(server);
                    }
                }
            },
        );
        store
    }

    /// Fills a store and tells what was touched: an object, or, when the watch began anew and deletions may have been
    /// missed, anything.
    fn watch<K: Stored>(
        &self,
        config: watcher::Config,
        writer: reflector::store::Writer<K>,
        touch: impl Fn(Option<&K>) + Send + 'static,
    ) {
        let events = watcher(Api::<K>::all(self.client.clone()), config)
            .default_backoff()
            .modify(|object| {
                // Nobody reads it, and it is larger than the rest of most objects.
                object.meta_mut().managed_fields = None;
            })
            .reflect(writer)
            .take_until(self.stop.clone().cancelled_owned());
        self.tasks.spawn(events.for_each(move |event| {
            match &event {
                Ok(Event::Apply(object) | Event::Delete(object)) => touch(Some(object)),
                Ok(Event::InitDone) => touch(None),
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => warn!(kind = %K::kind(&()), error = error as &dyn std::error::Error, "a watch failed; it is tried again"),
            }
            futures::future::ready(())
        }));
    }
}

fn names(agent: &Agent, server: &McpServer) -> bool {
    let mcp = agent.spec.tools.mcp.as_ref();
    agent.namespace() == server.namespace()
        && mcp.is_some_and(|mcp| {
            mcp.servers
                .iter()
                .any(|reference| Some(&reference.name) == server.metadata.name.as_ref())
        })
}
