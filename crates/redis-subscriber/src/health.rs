//! What an operator learns of the subscriptions.

use std::time::Duration;

use crate::{error::NodeError, layout::Address};

/// A canary without an echo for so long is lost.
pub(super) const CANARY_LOST: Duration = Duration::from_secs(6);

/// All nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not all nodes have been up at one time since the start.
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
    /// Each node that owns slots; before these are known, each configured node that did not answer.
    pub nodes: Vec<NodeHealth>,
    /// Channels whose subscription stands.
    pub confirmed: usize,
    /// Channels whose subscription is missing.
    pub unconfirmed: usize,
    /// Slots without a known owner.
    pub unowned_slots: usize,
    /// Whether subscriptions are sharded (`SSUBSCRIBE`), or plain because the server has no other. `None`: not known yet.
    pub sharded: Option<bool>,
}

impl Health {
    /// The longest time since a canary's last echo, over all nodes.
    #[must_use]
    pub fn canary_age(&self) -> Option<Duration> {
        self.nodes.iter().filter_map(|node| node.canary_age).max()
    }

    /// Whether only numbers differ, so that nothing is to be reported.
    pub(super) fn is_like(&self, reported: &Self) -> bool {
        let like = |(a, b): (&NodeHealth, &NodeHealth)| {
            (&a.address, a.connected, a.is_well(), &a.error) == (&b.address, b.connected, b.is_well(), &b.error)
        };
        let nodes = self.nodes.iter().zip(&reported.nodes);
        self.state == reported.state && self.nodes.len() == reported.nodes.len() && nodes.into_iter().all(like)
    }
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHealth {
    /// Where it is.
    pub address: Address,
    /// Whether it takes subscriptions.
    pub connected: bool,
    /// Why it is not connected, or what it refuses.
    pub error: Option<NodeError>,
    /// Time since the last echo of its canary, or since the last connection was made; it goes on while there is none.
    pub canary_age: Option<Duration>,
}

impl NodeHealth {
    /// Connected, and its canary comes back.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.connected && self.canary_age.is_none_or(|age| age < CANARY_LOST)
    }
}
