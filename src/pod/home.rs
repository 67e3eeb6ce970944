//! What a pod that has edges puts between its broker and its hub.
//!
//! Owns no thread and no listener. Always holds: a pod without `relay.listen` has none of it, and its hub has the broker itself.

use std::{sync::Arc, time::Instant};

use super::{edges::EdgeAccess, log::Log};
use crate::{
    api::Tree,
    broker::{
        Broker, Control, Deliver, Erasure, Presence,
        relay::{Edges, Followers, Home, HomeBroker, HomeControl, HomeErasure, HomePresence, HomeStore},
    },
    config::Config,
    hub::Services,
    metrics::{Exposition, RelayMetrics},
    model::{TreeRole, TreeStatus},
};

/// What is there before the broker is.
pub(super) struct Homestead {
    followers: Arc<Followers>,
    edges: Arc<Edges>,
    metrics: RelayMetrics,
}

impl Homestead {
    /// Of a pod that takes edges in; `None`: it does not. `hub`: where its own deliveries go.
    pub(super) fn of(config: &Config, exposition: &Exposition, hub: &Arc<dyn Deliver>) -> Option<Self> {
        if config.relay.listen.is_empty() {
            return None;
        }
        let metrics = exposition.register(RelayMetrics::default);
        let followers = Arc::new(Followers::new(Arc::clone(hub), metrics.dropped.clone()));
        Some(Self { followers, edges: Arc::default(), metrics })
    }

    /// Where the broker delivers.
    pub(super) fn deliver(&self) -> Arc<dyn Deliver> {
        Arc::clone(&self.followers) as _
    }
}

/// What the home of edges has in common with the hub.
struct HomeSeams {
    homestead: Homestead,
    control: Arc<HomeControl>,
    presence: Arc<HomePresence>,
    broker: Arc<dyn Broker>,
}

/// The broker as the hub has it.
pub(super) struct HubSeams {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) control: Arc<dyn Control>,
    pub(super) erasure: Arc<dyn Erasure>,
    pub(super) presence: Arc<dyn Presence>,
    of_home: Option<HomeSeams>,
}

impl HubSeams {
    /// `broker`: the log's, and what looks at what is published to it: by edges, too.
    pub(super) fn new(log: &Log, broker: Arc<dyn Broker>, homestead: Option<Homestead>) -> Self {
        let (control, erasure, presence) = (log.control(), log.erasure(), log.presence());
        let Some(homestead) = homestead else { return Self { broker, control, erasure, presence, of_home: None } };
        let followers = &homestead.followers;
        let with_edges = Arc::new(HomeControl::new(control, Arc::clone(&homestead.edges)));
        let members = Arc::new(HomePresence::new(presence));
        Self {
            broker: Arc::new(HomeBroker::new(Arc::clone(&broker), Arc::clone(followers))),
            control: Arc::clone(&with_edges) as _,
            erasure: Arc::new(HomeErasure::new(erasure, Arc::clone(&broker), Arc::clone(followers))),
            presence: Arc::clone(&members) as _,
            of_home: Some(HomeSeams { homestead, control: with_edges, presence: members, broker }),
        }
    }

    /// The home, once the pod's services are there.
    pub(super) fn home(self, services: &Arc<Services>, log: &Log) -> Option<Arc<Home>> {
        let HomeSeams { homestead, control, presence, broker } = self.of_home?;
        let Homestead { followers, edges, metrics } = homestead;
        let store = HomeStore {
            broker,
            presence,
            values: log.values(),
            acks: Arc::clone(&services.acks.store),
            erasure: Arc::clone(&services.erasure),
            control,
        };
        let (pod, above) = (services.control.pod().to_owned(), log.clone());
        let access = Arc::new(EdgeAccess(Arc::clone(services)));
        let memory = Arc::clone(&services.budget) as _;
        let read_above = Box::new(move || above.ancestry());
        Some(Arc::new(Home::new(pod, store, (followers, edges), (access, memory), metrics, read_above)))
    }
}

/// How the pod's links are, whenever it is asked.
pub(super) fn tree(log: &Log, home: Option<Arc<Home>>) -> Tree {
    let log = log.clone();
    Box::new(move || {
        let (links, now) = (log.links(), Instant::now());
        let role = match (&links, &home) {
            (None, None) => return None,
            (None, Some(_)) => TreeRole::Home,
            (Some(_), None) => TreeRole::Edge,
            (Some(_), Some(_)) => TreeRole::Relay,
        };
        let (edge_links, edges) = home.as_ref().map(|home| home.edges(now)).unwrap_or_default();
        Some(TreeStatus { role, above: log.ancestry().pods, links: links.unwrap_or_default(), edge_links, edges })
    })
}
