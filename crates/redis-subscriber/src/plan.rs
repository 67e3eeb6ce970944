//! Which channel is wanted on which node: the one place where slots, owners and confirmations meet.
//!
//! No I/O, no clock. Callers from any thread, the nodes' connections and the watch over the layout each lock it for moments.
//! Always holds: each wanted channel of an owned slot is ordered from exactly that owner; a node that a channel moved away
//! from keeps it until a moment after the new owner confirmed it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    error::NodeError,
    health::{Health, NodeHealth, State},
    layout::{Address, Layout},
    node::Node,
    order::Order,
    slot::{SLOTS, slot},
    wanted_channels::WantedChannels,
};

/// The old subscription stays for so long after the new one stands, for messages that are under way.
const LINGER: Duration = Duration::from_secs(1);

/// A start takes so long after the first node is up. A node that is missing then has failed.
const START: Duration = Duration::from_secs(3);

/// A node, for as long as it owns something. An address that owns something again later is another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u32);

/// Nodes that came and went.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) added: Vec<(NodeId, Address)>,
    pub(super) removed: Vec<NodeId>,
}

/// A subscription that a node keeps although another node owns the channel.
#[derive(Debug)]
struct Lingering {
    channel: Arc<str>,
    node: NodeId,
}

/// Which channel is wanted on which node.
#[derive(Debug)]
pub(super) struct Plan {
    wanted: WantedChannels,
    owners: Vec<Option<NodeId>>,
    nodes: BTreeMap<NodeId, Node>,
    lingering: Vec<Lingering>,
    /// What servers said of single slots since the last layout, each with its number.
    hints: HashMap<u16, u64>,
    hint: u64,
    /// Configured nodes that did not answer, and why. Shown as nodes while none is known.
    failed_seeds: Vec<(Address, NodeError)>,
    first_up: Option<Instant>,
    was_up: bool,
    sharded: Option<bool>,
    next_node: u32,
    canaries: String,
}

impl Plan {
    /// A plan whose canaries' channels begin with `canaries`.
    pub(super) fn new(canaries: String) -> Self {
        Self {
            wanted: WantedChannels::default(),
            owners: vec![None; usize::from(SLOTS)],
            nodes: BTreeMap::new(),
            lingering: Vec::new(),
            hints: HashMap::new(),
            hint: 0,
            failed_seeds: Vec::new(),
            first_up: None,
            was_up: false,
            sharded: None,
            next_node: 0,
            canaries,
        }
    }

    pub(super) fn subscribe(&mut self, channel: &str) {
        let Some((channel, slot)) = self.wanted.insert(channel) else { return };
        if let Some(owner) = self.owner(slot) {
            self.order(owner, channel, Order::Subscribe);
        }
    }

    pub(super) fn unsubscribe(&mut self, channel: &str) {
        let Some((channel, slot)) = self.wanted.remove(channel) else { return };
        if let Some(owner) = self.owner(slot) {
            self.order(owner, channel, Order::Unsubscribe);
        }
    }

    /// Takes a node's orders since the last time.
    pub(super) fn orders(&mut self, node: NodeId) -> HashMap<Arc<str>, Order> {
        self.nodes.get_mut(&node).map(|node| std::mem::take(&mut node.orders)).unwrap_or_default()
    }

    /// A node was found to be the master, or a replica, to which the connections are made anew now and then.
    pub(super) fn role(&mut self, address: &Address, is_master: bool, now: Instant) {
        for node in self.nodes.values_mut().filter(|node| node.address == *address) {
            if is_master { node.promote() } else { node.demote(now) }
        }
    }

    /// Whether a node's connections should be made anew; asked once.
    pub(super) fn takes_renewal(&mut self, node: NodeId) -> bool {
        self.nodes.get_mut(&node).is_some_and(|node| std::mem::take(&mut node.is_demoted))
    }

    /// What is notified of a node's orders.
    pub(super) fn wake(&self, node: NodeId) -> Option<Arc<Notify>> {
        self.nodes.get(&node).map(|node| Arc::clone(&node.wake))
    }

    /// Takes in a layout, all of which was asked for after the hint `since`.
    pub(super) fn apply(&mut self, layout: &Layout, since: u64) -> Changes {
        let mut changes = Changes::default();
        self.failed_seeds.clear();
        let mut ids: HashMap<&Address, NodeId> = HashMap::new();
        for address in &layout.owners {
            let known = self.nodes.iter().find(|(_, node)| node.address == *address).map(|(id, _)| *id);
            let id = known.unwrap_or_else(|| {
                let id = self.add(address.clone());
                changes.added.push((id, address.clone()));
                id
            });
            ids.insert(address, id);
        }
        for slot in 0..SLOTS {
            // A slot without a claim stays with its old owner, which knows best where it went.
            let Some(owner) = layout.owner(slot).and_then(|address| ids.get(address)) else { continue };
            if self.owner(slot) != Some(*owner) && self.hints.get(&slot).is_none_or(|hint| *hint <= since) {
                self.move_slot(slot, *owner);
            }
        }
        self.hints.retain(|_, hint| *hint > since);
        self.place_canaries();
        self.release(&mut changes);
        self.note_up();
        changes
    }

    /// The number of the last hint: a layout that is asked for from now on knows it.
    pub(super) fn hint(&self) -> u64 {
        self.hint
    }

    /// A node said that a slot is owned by `owner`, which is `host:port`. Followed at once if that node is known.
    pub(super) fn moved(&mut self, node: NodeId, slot: u16, owner: &str) {
        let Some(node) = self.nodes.get(&node) else { return };
        let Some(owner) = Address::parse(owner, &node.address.host) else { return };
        let known = self.nodes.iter().find(|(_, node)| node.address == owner).map(|(id, _)| *id);
        let Some(owner) = known.filter(|owner| slot < SLOTS && self.owner(slot) != Some(*owner)) else { return };
        self.hint += 1;
        self.hints.insert(slot, self.hint);
        self.move_slot(slot, owner);
    }

    /// Drops old subscriptions whose new ones have stood for a moment, and removes nodes on which nothing is left.
    pub(super) fn tick(&mut self, now: Instant) -> Changes {
        for Lingering { channel, node } in std::mem::take(&mut self.lingering) {
            let want = self.wanted.get(&channel);
            let back = want.is_some_and(|want| self.owner(want.slot) == Some(node));
            let over = want.is_none_or(|want| want.confirmed.is_some_and(|since| now >= since + LINGER));
            if back || !self.nodes.contains_key(&node) {
                continue;
            }
            if over {
                self.order(node, channel, Order::Unsubscribe);
            } else {
                self.lingering.push(Lingering { channel, node });
            }
        }
        self.was_up |= self.first_up.is_some_and(|first| now >= first + START);
        let mut changes = Changes::default();
        self.release(&mut changes);
        changes
    }

    /// A node's connection begins anew and knows nothing: everything is ordered again. `None`: the node is not needed any more.
    pub(super) fn restart(&mut self, id: NodeId) -> Option<Address> {
        let node = self.nodes.get_mut(&id)?;
        node.restart();
        let address = node.address.clone();
        for channel in self.wanted.of_slots(|slot| self.owners[usize::from(slot)] == Some(id)) {
            self.wanted.lose(&channel);
            node.orders.insert(channel, Order::Subscribe);
        }
        Some(address)
    }

    /// Orders again what is missing. This is harmless where it is under way, and mends everything else.
    pub(super) fn reconcile(&mut self) {
        if self.wanted.unconfirmed() == 0 {
            return;
        }
        for (channel, slot) in self.wanted.missing() {
            if let Some(owner) = self.owner(slot) {
                self.order(owner, channel, Order::Subscribe);
            }
        }
    }

    /// A node confirmed a channel.
    pub(super) fn confirmed(&mut self, node: NodeId, channel: &str, now: Instant) {
        if self.is_owner(node, channel) {
            self.wanted.confirm(channel, now);
        }
    }

    /// A node lost a channel.
    pub(super) fn lost(&mut self, node: NodeId, channel: &str) {
        if self.is_owner(node, channel) {
            self.wanted.lose(channel);
        }
    }

    /// A node takes subscriptions.
    pub(super) fn up(&mut self, node: NodeId, sharded: bool, now: Instant) {
        self.sharded = Some(sharded);
        self.first_up.get_or_insert(now);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.up(sharded, now);
        }
        self.note_up();
    }

    /// A node's connection ended, or was not made.
    pub(super) fn down(&mut self, node: NodeId, error: NodeError) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.down(error);
        }
    }

    /// A node refuses something, and stays connected.
    pub(super) fn refused(&mut self, node: NodeId, error: NodeError, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.refused(error, now);
        }
    }

    /// No node told the layout: these configured nodes, for these reasons.
    pub(super) fn no_layout(&mut self, failed: Vec<(Address, NodeError)>) {
        self.failed_seeds = failed;
    }

    /// The canary's channel of a node that is connected, and whether it is sharded.
    pub(super) fn canary(&self, node: NodeId) -> Option<(Arc<str>, bool)> {
        let node = self.nodes.get(&node).filter(|node| node.connected)?;
        Some((node.canary.clone()?, node.sharded))
    }

    /// The canary of a node was published.
    pub(super) fn published(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.published();
        }
    }

    /// Whether a node does not deliver what is published there.
    pub(super) fn is_deaf(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(Node::is_deaf)
    }

    /// The canary of a node came back.
    pub(super) fn echoed(&mut self, node: NodeId, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.echoed(now);
        }
    }

    /// Whether the layout should be asked for more often.
    pub(super) fn is_troubled(&self) -> bool {
        self.nodes.values().any(|node| !node.connected) || self.nodes.is_empty() || self.wanted.unconfirmed() > 0
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        let owners = self.nodes.values().filter(|node| node.owned > 0);
        let mut nodes: Vec<NodeHealth> = owners.map(|node| node.health(now)).collect();
        if !self.is_complete() {
            let known: HashSet<Address> = nodes.iter().map(|node| node.address.clone()).collect();
            let failed = self.failed_seeds.iter().filter(|(address, _)| !known.contains(address));
            nodes.extend(failed.map(|(address, error)| NodeHealth {
                address: address.clone(),
                connected: false,
                error: Some(error.clone()),
                canary_age: None,
            }));
        }
        let well = self.is_complete() && nodes.iter().all(|node| node.is_well() && node.error.is_none());
        let state = match (self.was_up, well) {
            (false, _) => State::NeverConnected,
            (true, true) => State::Up,
            (true, false) => State::Degraded,
        };
        Health {
            state,
            nodes,
            confirmed: self.wanted.confirmed(),
            unconfirmed: self.wanted.unconfirmed(),
            unowned_slots: self.owners.iter().filter(|owner| owner.is_none()).count(),
            sharded: self.sharded,
        }
    }

    fn note_up(&mut self) {
        self.was_up |= self.is_complete() && self.nodes.values().all(|node| node.connected || node.owned == 0);
    }

    fn is_complete(&self) -> bool {
        self.nodes.values().map(|node| node.owned).sum::<usize>() == usize::from(SLOTS)
    }

    fn owner(&self, slot: u16) -> Option<NodeId> {
        *self.owners.get(usize::from(slot))?
    }

    /// Whether a node owns a wanted channel.
    fn is_owner(&self, node: NodeId, channel: &str) -> bool {
        self.wanted.get(channel).is_some_and(|want| self.owner(want.slot) == Some(node))
    }

    fn add(&mut self, address: Address) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, Node::new(address));
        id
    }

    fn move_slot(&mut self, slot: u16, to: NodeId) {
        let from = self.owners[usize::from(slot)].replace(to);
        if let Some(node) = from.and_then(|from| self.nodes.get_mut(&from)) {
            node.owned -= 1;
        }
        if let Some(node) = self.nodes.get_mut(&to) {
            node.owned += 1;
        }
        for channel in self.wanted.of_slot(slot) {
            self.wanted.lose(&channel);
            if let Some(from) = from {
                self.order(from, Arc::clone(&channel), Order::Linger);
                self.lingering.push(Lingering { channel: Arc::clone(&channel), node: from });
            }
            self.order(to, channel, Order::Subscribe);
        }
    }

    fn order(&mut self, node: NodeId, channel: Arc<str>, order: Order) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.order(channel, order);
        }
    }

    /// Gives each owner a channel in a slot of its own.
    fn place_canaries(&mut self) {
        let mut orders = Vec::new();
        for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.owned > 0) {
            let owned = |name: &str| self.owners[usize::from(slot(name.as_bytes()))] == Some(*id);
            if node.canary.as_deref().is_some_and(owned) {
                continue;
            }
            let mut names = (0..1_000_000).map(|n| format!("{}{{{n}}}", self.canaries));
            let name: Option<Arc<str>> = names.find(|name| owned(name)).map(Into::into);
            orders.extend(name.iter().map(|name| (*id, Arc::clone(name), Order::Subscribe)));
            orders.extend(std::mem::replace(&mut node.canary, name).map(|old| (*id, old, Order::Unsubscribe)));
        }
        for (node, name, order) in orders {
            self.order(node, name, order);
        }
    }

    fn release(&mut self, changes: &mut Changes) {
        let lingering: HashSet<NodeId> = self.lingering.iter().map(|lingering| lingering.node).collect();
        self.nodes.retain(|id, node| {
            let kept = node.owned > 0 || lingering.contains(id);
            if !kept {
                changes.removed.push(*id);
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests;
