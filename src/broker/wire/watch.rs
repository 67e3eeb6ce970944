//! Watches who owns which slot: each second, at once on any event, and more often while something is wrong.

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

use super::{
    Kind,
    commander::{Answer, Commander},
    layout::{Address, Described, Layout, describe},
    line,
    plan::{Changes, NodeId},
    subscriber::Shared,
};

/// Between looks when all is well, and when it is not.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(100));
/// The least time between looks, however many events there are.
const LEAST: Duration = Duration::from_millis(10);
/// Who has not answered by then is not waited for.
const ANSWER: Duration = Duration::from_millis(300);
/// The most nodes that one look asks: they gossip among themselves.
const ASKED: usize = 16;
/// The most nodes that are known.
const KNOWN: usize = 256;
/// Between ticks of the plan.
const TICK: Duration = Duration::from_millis(100);
/// Between reconciliations: this many ticks.
const RECONCILE: u32 = 10;

/// The lines of all masters, and the command connections of all nodes.
pub(super) struct Watch {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    lines: HashMap<NodeId, AbortHandle>,
    /// Of the servers: masters and replicas.
    commanders: BTreeMap<Address, Commander>,
    /// Of the configured nodes.
    seeds: Vec<(Address, Commander)>,
    layout: Option<Layout>,
    turn: usize,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let mut watch = Self {
            shared,
            tasks: JoinSet::new(),
            lines: HashMap::new(),
            commanders: BTreeMap::new(),
            seeds: Vec::new(),
            layout: None,
            turn: 0,
        };
        for address in watch.shared.seeds.clone() {
            let (commander, work) =
                Commander::new(watch.shared.seed_access.clone(), address.clone(), Arc::clone(&watch.shared.refresh));
            watch.tasks.spawn(work);
            watch.seeds.push((address, commander));
        }
        watch
    }

    /// Never ends.
    pub(super) async fn run(mut self) {
        let mut next_look = Instant::now();
        let mut looked = Instant::now();
        let mut next_tick = Instant::now();
        let mut ticks: u32 = 0;
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                () = sleep_until(next_look) => {}
                () = shared.refresh.notified() => sleep_until(looked + LEAST).await,
                () = sleep_until(next_tick) => {
                    next_tick = Instant::now() + TICK;
                    ticks = ticks.wrapping_add(1);
                    self.tick(ticks.is_multiple_of(RECONCILE));
                    continue;
                }
            }
            self.look().await;
            looked = Instant::now();
            next_look = looked + if shared.plan().is_troubled() { LOOK.1 } else { LOOK.0 };
        }
    }

    fn tick(&mut self, reconcile: bool) {
        let changes = {
            let mut plan = self.shared.plan();
            if reconcile {
                plan.reconcile();
            }
            plan.tick(Instant::now().into_std())
        };
        self.follow(changes);
        self.restart_lines();
        self.shared.changed.notify_one();
    }

    /// A line has no end of its own: one that ended panicked, and its channels must not stay deaf for that.
    fn restart_lines(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        let ended: Vec<NodeId> = self.lines.iter().filter(|(_, line)| line.is_finished()).map(|(id, _)| *id).collect();
        for node in ended {
            self.lines.remove(&node);
            let address = self.shared.plan().restart(node);
            if let Some(address) = address {
                tracing::error!(node = %address, "the subscriptions of a node panicked; they begin anew");
                self.start(node, address);
            }
        }
    }

    /// Asks who owns what, and follows the answer.
    async fn look(&mut self) {
        let hint = self.shared.plan().hint();
        let layout = match &self.shared.kind {
            Kind::Standalone if self.seeds.len() == 1 => {
                self.seeds.first().map(|(seed, _)| Layout::single(seed.clone()))
            }
            Kind::Standalone => self.master_of_several().await,
            Kind::Sentinel { master, .. } => self.sentinels(master).await,
            Kind::Cluster => self.cluster().await,
        };
        let Some(layout) = layout else {
            let strangers = self.seeds.iter().filter_map(|(seed, commander)| Some((seed.clone(), commander.fault()?)));
            let strangers = strangers.collect();
            self.shared.plan().strangers(strangers);
            self.shared.changed.notify_one();
            return;
        };
        let changes = self.shared.plan().apply(&layout, hint);
        self.follow(changes);
        if self.layout.as_ref() != Some(&layout) {
            if self.layout.is_some() {
                self.shared.metrics.topology_changes.increment(1);
            }
            self.shared.sink.layout(&layout);
            self.layout = Some(layout);
            self.shared.changed.notify_one();
        }
    }

    /// Starts and ends lines.
    fn follow(&mut self, changes: Changes) {
        for node in changes.removed {
            if let Some(line) = self.lines.remove(&node) {
                line.abort();
            }
        }
        for (node, address) in changes.added {
            self.start(node, address);
        }
    }

    fn start(&mut self, node: NodeId, address: Address) {
        let commander = self.commander(&address);
        let line = line::run(Arc::clone(&self.shared), node, address, commander);
        self.lines.insert(node, self.tasks.spawn(line));
    }

    fn commander(&mut self, address: &Address) -> Commander {
        if let Some(commander) = self.commanders.get(address) {
            return commander.clone();
        }
        let refresh = Arc::clone(&self.shared.refresh);
        let (commander, work) = Commander::new(self.shared.servers.clone(), address.clone(), refresh);
        self.tasks.spawn(work);
        self.commanders.insert(address.clone(), commander.clone());
        commander
    }

    /// The first of several servers that says it is a master.
    async fn master_of_several(&self) -> Option<Layout> {
        let answers = ask(self.seeds.iter(), &["ROLE"]).await;
        let is_master = |answer: &Answer| matches!(answer, Answer::List(list) if list.first().and_then(Answer::text) == Some("master"));
        let masters: Vec<_> =
            answers.into_iter().filter(|(_, answer)| is_master(answer)).map(|(seed, _)| seed).collect();
        let first = self.seeds.iter().map(|(seed, _)| seed).find(|seed| masters.contains(seed))?;
        Some(Layout::single(first.clone()))
    }

    /// Where most sentinels say that the master is.
    async fn sentinels(&self, master: &str) -> Option<Layout> {
        let mut votes: BTreeMap<Address, usize> = BTreeMap::new();
        for (_, answer) in ask(self.seeds.iter(), &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]).await {
            if let Answer::List(list) = answer
                && let [Answer::Text(host), Answer::Text(port)] = &list[..]
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
        let asked: Vec<_> = self.commanders.iter().cycle().skip(first).take(known.min(ASKED)).collect();
        let mut views = self.views(asked.into_iter()).await;
        if views.is_empty() {
            views = self.views(self.seeds.iter().map(|(address, commander)| (address, commander))).await;
        }
        let nodes: Vec<Described> = views.into_iter().flatten().collect();
        if nodes.is_empty() {
            return None;
        }
        // Replicas too: they know who is promoted, and are the next to be.
        self.commanders.retain(|address, _| nodes.iter().any(|node| node.address == *address));
        for node in nodes.iter().take(KNOWN) {
            self.commander(&node.address);
        }
        Some(Layout::merge(nodes.iter()))
    }

    async fn views<'a>(&self, nodes: impl Iterator<Item = (&'a Address, &'a Commander)>) -> Vec<Vec<Described>> {
        let names = self.shared.servers.has_tls();
        let nodes: Vec<_> = nodes.map(|(address, commander)| (address.clone(), commander.clone())).collect();
        let answers = ask(nodes.iter(), &["CLUSTER", "NODES"]).await;
        let views =
            answers.into_iter().filter_map(|(address, answer)| Some(describe(answer.text()?, &address.host, names)));
        views.filter(|view| !view.is_empty()).collect()
    }
}

/// Asks all at once; who answers in time.
async fn ask(nodes: impl Iterator<Item = &(Address, Commander)>, words: &[&str]) -> Vec<(Address, Answer)> {
    let mut asked: FuturesUnordered<_> = nodes
        .map(|(address, commander)| async { (address.clone(), timeout(ANSWER, commander.ask(words)).await) })
        .collect();
    let mut answers = Vec::new();
    while let Some((address, answer)) = asked.next().await {
        if let Ok(Some(answer)) = answer {
            answers.push((address, answer));
        }
    }
    answers
}
