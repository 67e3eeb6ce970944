//! Watches which node owns which slot: each second, at once after an event, and ten times a second while something is wrong.
//!
//! Owns the task of each master's connection and of each node's commands. Always holds: a connection whose task ended is
//! started again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    commander::{Commander, Reply},
    endpoints::Topology,
    layout::{Address, Layout, NodeDescription, describe, prefer, preferred_address},
    node_connection,
    plan::{Changes, NodeId},
    state::SubscriberState,
};

/// The time between looks when all is well, and when it is not.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(100));
/// The least time between looks, however many events there are.
const LEAST: Duration = Duration::from_millis(10);
/// The time for an answer about the layout; later ones do not count.
const REPLY: Duration = Duration::from_millis(300);
/// The most nodes that one look asks: nodes gossip among themselves.
const ASKED: usize = 16;
/// The most nodes that are known.
const KNOWN: usize = 256;
/// The time between ticks of the plan.
const TICK: Duration = Duration::from_millis(100);
/// The ticks between reconciliations.
const RECONCILE: u32 = 10;

/// The connections of all masters, and the command connections of all nodes.
pub(super) struct LayoutWatch {
    state: Arc<SubscriberState>,
    tasks: JoinSet<()>,
    connections: HashMap<NodeId, AbortHandle>,
    /// Masters and replicas.
    commanders: BTreeMap<Address, Commander>,
    /// The configured nodes.
    seeds: Vec<(Address, Commander)>,
    /// Where nodes of the cluster prefer to be found, by their names. Not each look hears it of each.
    preferred: HashMap<Box<str>, Address>,
    layout: Option<Layout>,
    turn: usize,
}

impl LayoutWatch {
    pub(super) fn new(state: Arc<SubscriberState>) -> Self {
        let mut watch = Self {
            state,
            tasks: JoinSet::new(),
            connections: HashMap::new(),
            commanders: BTreeMap::new(),
            seeds: Vec::new(),
            preferred: HashMap::new(),
            layout: None,
            turn: 0,
        };
        for address in watch.state.seeds.clone() {
            let (commander, work) =
                Commander::new(watch.state.seed_access.clone(), address.clone(), Arc::clone(&watch.state.refresh));
            watch.tasks.spawn(work);
            watch.seeds.push((address, commander));
        }
        watch
    }

    /// Never returns.
    pub(super) async fn run(mut self) {
        let mut next_look = Instant::now();
        let mut looked = Instant::now();
        let mut next_tick = Instant::now();
        let mut ticks: u32 = 0;
        let state = Arc::clone(&self.state);
        loop {
            tokio::select! {
                () = sleep_until(next_look) => {}
                () = state.refresh.notified() => sleep_until(looked + LEAST).await,
                () = sleep_until(next_tick) => {
                    next_tick = Instant::now() + TICK;
                    ticks = ticks.wrapping_add(1);
                    self.tick(ticks.is_multiple_of(RECONCILE));
                    continue;
                }
            }
            self.look().await;
            looked = Instant::now();
            next_look = looked + if state.plan().is_troubled() { LOOK.1 } else { LOOK.0 };
        }
    }

    fn tick(&mut self, reconcile: bool) {
        let changes = {
            let mut plan = self.state.plan();
            if reconcile {
                plan.reconcile();
            }
            plan.tick(Instant::now().into_std())
        };
        self.follow(changes);
        self.restart_connections();
        self.state.changed.notify_one();
    }

    /// A connection's task never returns. One that ended panicked, and its channels must not stay deaf for that.
    fn restart_connections(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        let ended = self.connections.iter().filter(|(_, task)| task.is_finished());
        let ended: Vec<NodeId> = ended.map(|(id, _)| *id).collect();
        for node in ended {
            self.connections.remove(&node);
            let address = self.state.plan().restart(node);
            if let Some(address) = address {
                tracing::error!(node = %address, "the subscriptions of a node panicked; they begin anew");
                self.start(node, address);
            }
        }
    }

    /// Asks for the layout, and follows the answer.
    async fn look(&mut self) {
        let hint = self.state.plan().hint();
        let layout = match &self.state.topology {
            Topology::Standalone if self.seeds.len() == 1 => {
                self.seeds.first().map(|(seed, _)| Layout::single(seed.clone()))
            }
            Topology::Standalone => self.master_of_several().await,
            Topology::Sentinel { master, .. } => self.sentinels(master).await,
            Topology::Cluster => self.cluster().await,
        };
        let Some(layout) = layout else {
            let failed = self.seeds.iter().filter_map(|(seed, commander)| Some((seed.clone(), commander.error()?)));
            let failed = failed.collect();
            self.state.plan().no_layout(failed);
            self.state.changed.notify_one();
            return;
        };
        let changes = self.state.plan().apply(&layout, hint);
        self.follow(changes);
        if self.layout.as_ref() != Some(&layout) {
            if self.layout.is_some() {
                self.state.observer.layout_changed();
            }
            self.state.sink.layout_changed(&layout);
            self.layout = Some(layout);
            self.state.changed.notify_one();
        }
    }

    /// Starts and ends connections.
    fn follow(&mut self, changes: Changes) {
        for node in changes.removed {
            if let Some(task) = self.connections.remove(&node) {
                task.abort();
            }
        }
        for (node, address) in changes.added {
            self.start(node, address);
        }
    }

    fn start(&mut self, node: NodeId, address: Address) {
        let commander = self.commander(&address);
        let connection = node_connection::run(Arc::clone(&self.state), node, address, commander);
        self.connections.insert(node, self.tasks.spawn(connection));
    }

    fn commander(&mut self, address: &Address) -> Commander {
        if let Some(commander) = self.commanders.get(address) {
            return commander.clone();
        }
        let refresh = Arc::clone(&self.state.refresh);
        let (commander, work) = Commander::new(self.state.server_access.clone(), address.clone(), refresh);
        self.tasks.spawn(work);
        self.commanders.insert(address.clone(), commander.clone());
        commander
    }

    /// The first of several servers that says it is a master.
    async fn master_of_several(&self) -> Option<Layout> {
        let answers = ask(self.seeds.iter(), &["ROLE"]).await;
        let is_master =
            |reply: &Reply| matches!(reply, Reply::List(list) if list.first().and_then(Reply::text) == Some("master"));
        let masters: Vec<_> =
            answers.into_iter().filter(|(_, answer)| is_master(answer)).map(|(seed, _)| seed).collect();
        let first = self.seeds.iter().map(|(seed, _)| seed).find(|seed| masters.contains(seed))?;
        Some(Layout::single(first.clone()))
    }

    /// Where most sentinels say that the master is.
    async fn sentinels(&self, master: &str) -> Option<Layout> {
        let mut votes: BTreeMap<Address, usize> = BTreeMap::new();
        for (_, answer) in ask(self.seeds.iter(), &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]).await {
            if let Reply::List(list) = answer
                && let [Reply::Text(host), Reply::Text(port)] = &list[..]
                && let Ok(port) = port.parse()
            {
                *votes.entry(Address::new(host, port)).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(address, _)| Layout::single(address))
    }

    async fn cluster(&mut self) -> Option<Layout> {
        // Another part of a large cluster each time.
        let known = self.commanders.len();
        let first = if known > ASKED { self.turn * ASKED % known } else { 0 };
        self.turn = self.turn.wrapping_add(1);
        let own = |(address, commander): (&Address, &Commander)| (address.clone(), commander.clone());
        let asked: Vec<_> = self.commanders.iter().cycle().skip(first).take(known.min(ASKED)).map(own).collect();
        let mut views = self.views(asked).await;
        if views.is_empty() {
            views = self.views(self.seeds.clone()).await;
        }
        let nodes: Vec<NodeDescription> = views.into_iter().flatten().collect();
        if nodes.is_empty() {
            return None;
        }
        // Replicas too: they know which of them is promoted.
        self.commanders.retain(|address, _| nodes.iter().any(|node| node.address == *address));
        for node in nodes.iter().take(KNOWN) {
            self.commander(&node.address);
        }
        Some(Layout::merge(nodes.iter()))
    }

    async fn views(&mut self, nodes: Vec<(Address, Commander)>) -> Vec<Vec<NodeDescription>> {
        let names = self.state.server_access.has_tls();
        // An ACL may forbid the second question: then the addresses are those that the nodes announce to each other.
        let (answers, slots) =
            tokio::join!(ask(nodes.iter(), &["CLUSTER", "NODES"]), ask(nodes.iter(), &["CLUSTER", "SLOTS"]));
        for (asked, slots) in &slots {
            self.preferred.extend(preferred_addresses(slots, &asked.host));
        }
        let views = answers.into_iter().filter_map(|(address, answer)| {
            let mut view = describe(answer.text()?, &address.host, names);
            prefer(&mut view, &self.preferred, names);
            Some(view)
        });
        let views: Vec<_> = views.filter(|view| !view.is_empty()).collect();
        if !views.is_empty() {
            self.preferred.retain(|id, _| views.iter().flatten().any(|node| node.id == *id));
        }
        views
    }
}

/// Reads the answer to `CLUSTER SLOTS` of the node that was asked at `asked`: for each range its first and last slot, then its
/// nodes as host, port, name and more.
fn preferred_addresses(answer: &Reply, asked: &str) -> HashMap<Box<str>, Address> {
    let Reply::List(ranges) = answer else { return HashMap::new() };
    let nodes = ranges.iter().filter_map(|range| match range {
        Reply::List(parts) => parts.get(2..),
        _ => None,
    });
    let of_node = |node: &Reply| {
        let Reply::List(parts) = node else { return None };
        let [host, Reply::Number(port), id, ..] = &parts[..] else { return None };
        Some((id.text()?.into(), preferred_address(host.text(), *port, asked)?))
    };
    nodes.flatten().filter_map(of_node).take(KNOWN).collect()
}

/// Asks all nodes at once. Returns the replies that came in time.
async fn ask(nodes: impl Iterator<Item = &(Address, Commander)>, words: &[&str]) -> Vec<(Address, Reply)> {
    let mut asked: FuturesUnordered<_> = nodes
        .map(|(address, commander)| async { (address.clone(), timeout(REPLY, commander.ask(words)).await) })
        .collect();
    let mut answers = Vec::new();
    while let Some((address, answer)) = asked.next().await {
        if let Ok(Some(answer)) = answer {
            answers.push((address, answer));
        }
    }
    answers
}
