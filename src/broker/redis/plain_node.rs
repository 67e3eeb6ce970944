//! The node at which a pod listens to plain messages: the one at which the pod with the lease on them does.
//!
//! A message's name is its place in the stream of one node, and the nodes of a cluster tell the same messages in orders of their own. So
//! a pod goes where the holder listens, and stays there when that node is a master no more: it goes on to tell what others publish.
//!
//! No I/O. Always holds: a node that was lost, or that tells nothing any more, is left alone for a while.

use std::time::{Duration, Instant};

use roomcast_redis_subscriber::Address;

/// A node that was lost is not gone back to for so long, unless it is the master.
const AVOIDED: Duration = Duration::from_secs(10);

/// After so long a pod's own mark must have come back: then its node no longer hears what is published elsewhere.
const ECHO: Duration = Duration::from_secs(3);

/// Where a pod listens.
#[derive(Debug, Default)]
pub(super) struct ListeningNode {
    /// Where it does now.
    here: Option<Address>,
    /// Where the pod that has the lease does; `None`: no other has it, or it does not say.
    holder: Option<Address>,
    avoided: Option<(Address, Instant)>,
    /// Since when a mark of this pod is on its way, and nothing came.
    awaited: Option<Instant>,
}

impl ListeningNode {
    /// The node at which to listen. `master`: the one to begin with.
    pub(super) fn choose(&self, master: Option<Address>, now: Instant) -> Option<Address> {
        let is_open = |node: &&Address| {
            let is_avoided = |(avoided, since): &(Address, Instant)| {
                avoided == *node && now.saturating_duration_since(*since) < AVOIDED
            };
            !self.avoided.as_ref().is_some_and(is_avoided)
        };
        self.holder.as_ref().filter(is_open).or(self.here.as_ref()).cloned().or(master)
    }

    /// Where it listens now.
    pub(super) fn here(&self) -> Option<&Address> {
        self.here.as_ref()
    }

    /// The patterns stand at a node.
    pub(super) fn stands(&mut self, node: &Address) {
        self.here = Some(node.clone());
        self.awaited = None;
    }

    /// The connection to a node ended, or could not be made.
    pub(super) fn lost(&mut self, node: &Address, master: Option<&Address>, now: Instant) {
        if self.here.take().is_none() || self.is_deaf(now) || master != Some(node) {
            self.avoided = Some((node.clone(), now));
        }
        self.awaited = None;
    }

    /// Where the pod that has the lease listens.
    pub(super) fn holder_is_at(&mut self, node: Option<Address>) {
        self.holder = node;
    }

    /// Whether the holder listens elsewhere: then names that were counted here are not its names.
    pub(super) fn is_astray(&self) -> bool {
        matches!((&self.here, &self.holder), (Some(here), Some(holder)) if here != holder)
    }

    /// A mark of this pod is on its way.
    pub(super) fn awaits(&mut self, now: Instant) {
        if self.here.is_some() {
            self.awaited.get_or_insert(now);
        }
    }

    /// Something came, or the mark did not leave.
    pub(super) fn awaits_no_more(&mut self) {
        self.awaited = None;
    }

    /// Whether the node tells nothing of what is published.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        self.awaited.is_some_and(|since| now.saturating_duration_since(since) >= ECHO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Address {
        Address::new("a", port)
    }

    #[test]
    fn a_pod_stays_where_it_is_until_the_holder_is_elsewhere() {
        let (mut place, now) = (ListeningNode::default(), Instant::now());
        assert_eq!(place.choose(None, now), None);
        assert_eq!(place.choose(Some(node(1)), now), Some(node(1)));
        place.stands(&node(1));
        // A failover in good order, or a slot that moves.
        assert_eq!(place.choose(Some(node(2)), now), Some(node(1)));
        assert!(!place.is_astray());
        place.holder_is_at(Some(node(3)));
        assert_eq!(place.choose(Some(node(2)), now), Some(node(3)));
        assert!(place.is_astray());
        place.holder_is_at(None);
        assert_eq!(place.choose(Some(node(2)), now), Some(node(1)));
    }

    #[test]
    fn a_node_that_is_lost_is_avoided_unless_it_is_the_master() {
        let (mut place, now) = (ListeningNode::default(), Instant::now());
        place.holder_is_at(Some(node(1)));
        place.stands(&node(1));
        place.lost(&node(1), Some(&node(1)), now);
        assert_eq!(place.choose(Some(node(1)), now), Some(node(1)), "it may only be this connection");
        // It cannot be reached, and then there is another master.
        place.lost(&node(1), Some(&node(1)), now);
        assert_eq!(place.choose(Some(node(2)), now), Some(node(2)));
        assert_eq!(place.choose(Some(node(2)), now + AVOIDED), Some(node(1)), "the holder is there all the same");
        // A node that is a master no more.
        place.stands(&node(1));
        place.lost(&node(1), Some(&node(2)), now);
        assert_eq!(place.choose(Some(node(2)), now), Some(node(2)));
    }

    #[test]
    fn a_node_that_tells_nothing_is_left() {
        let (mut place, now) = (ListeningNode::default(), Instant::now());
        place.awaits(now);
        assert!(!place.is_deaf(now + ECHO), "it does not listen yet");
        place.stands(&node(1));
        place.awaits(now);
        place.awaits(now + ECHO / 2);
        assert!(!place.is_deaf(now + ECHO / 2) && place.is_deaf(now + ECHO));
        place.awaits_no_more();
        assert!(!place.is_deaf(now + ECHO));
        place.awaits(now);
        place.lost(&node(1), Some(&node(1)), now + ECHO);
        assert!(!place.is_deaf(now + 2 * ECHO));
        place.holder_is_at(Some(node(1)));
        assert_eq!(place.choose(Some(node(2)), now + ECHO), Some(node(2)));
    }
}
