//! What an operator is told of the subscriptions.

use std::time::Duration;

use super::{Address, Fault};

/// After so long without an echo the canary is held for lost.
pub(super) const CANARY_LOST: Duration = Duration::from_secs(6);

/// All nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Since the start there was no moment in which all nodes were up.
    NeverConnected,
    /// Every node is up, and every slot has an owner.
    Up,
    /// Something is missing: [`Health::nodes`] says what.
    Degraded,
}

/// How the subscriptions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// All together.
    pub state: State,
    /// Each node that owns slots; before these are known, each node that was asked in vain.
    pub nodes: Vec<NodeHealth>,
    /// Channels whose subscription stands.
    pub confirmed: usize,
    /// Channels whose subscription is missing.
    pub unconfirmed: usize,
    /// Slots that no known node owns.
    pub unowned_slots: usize,
    /// Whether subscriptions are sharded (`SSUBSCRIBE`) or plain, because the server has no other; `None`: not known yet.
    pub sharded: Option<bool>,
}

impl Health {
    /// The longest time since a canary's last echo, over all nodes.
    #[must_use]
    pub fn canary_age(&self) -> Option<Duration> {
        self.nodes.iter().filter_map(|node| node.canary_age).max()
    }

    /// Whether nothing but numbers differs, so that there is nothing to tell.
    pub(super) fn is_like(&self, told: &Self) -> bool {
        let like = |(a, b): (&NodeHealth, &NodeHealth)| {
            (&a.address, a.connected, a.is_well(), &a.fault) == (&b.address, b.connected, b.is_well(), &b.fault)
        };
        self.state == told.state && self.nodes.len() == told.nodes.len() && self.nodes.iter().zip(&told.nodes).all(like)
    }
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHealth {
    /// Where it is.
    pub address: Address,
    /// Whether there is a connection that takes subscriptions.
    pub connected: bool,
    /// Why there is none, or why the last one ended.
    pub fault: Option<Fault>,
    /// Since the last echo of its canary, or since the connection stands.
    pub canary_age: Option<Duration>,
}

impl NodeHealth {
    /// Connected, and its canary comes back.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.connected && self.canary_age.is_none_or(|age| age < CANARY_LOST)
    }
}
