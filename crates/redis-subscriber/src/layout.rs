//! Which node owns which slot, put together from what several nodes say (`CLUSTER NODES`).
//!
//! Always holds: of two claims to a slot the one with the higher configuration epoch wins, as in Redis itself; of equal
//! ones that of the node which says it of itself.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use crate::slot::SLOTS;

/// The most nodes that are read from one answer.
const MAX_NODES: usize = 1_024;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Of a host and a port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Of `host:port`, where an IPv6 address may stand without brackets, as Redis writes it; `None` if there is no port.
    /// An empty host is `otherwise`: a node that does not know its own address is where it was asked.
    #[must_use]
    pub fn parse(text: &str, otherwise: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self::new(if host.is_empty() || host == "?" { otherwise } else { host }, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A node, as one of them describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDescription {
    /// Its name among the nodes.
    pub id: Box<str>,
    /// Where clients find it.
    pub address: Address,
    /// It is the node that was asked.
    pub myself: bool,
    /// It is a master.
    pub master: bool,
    /// Its configuration epoch.
    pub epoch: u64,
    /// The ranges of slots that it owns, first and last.
    pub slots: Vec<(u16, u16)>,
}

/// Reads the answer to `CLUSTER NODES` of the node that was asked as `host`. With `names`, a node's host name is preferred
/// to its IP address, because certificates have names. Lines that say nothing usable are left out.
#[must_use]
pub fn describe(text: &str, host: &str, names: bool) -> Vec<NodeDescription> {
    text.lines().take(MAX_NODES).filter_map(|line| described(line, host, names)).collect()
}

/// `<id> <ip:port@bus[,name[,…]]> <flags> <master> <ping> <pong> <epoch> <link> <slot> <slot> …`
fn described(line: &str, host: &str, names: bool) -> Option<NodeDescription> {
    let mut words = line.split(' ');
    let id = words.next()?.into();
    let (address, flags, epoch) = (words.next()?, words.next()?, words.nth(3)?);
    let has = |flag: &str| flags.split(',').any(|f| f == flag);
    if has("noaddr") || has("handshake") {
        return None;
    }
    let mut parts = address.split(',');
    let mut address = Address::parse(parts.next()?.split('@').next()?, host)?;
    if let Some(name) = parts.next().filter(|name| names && !name.is_empty()) {
        address.host = name.into();
    }
    let epoch = epoch.parse().ok()?;
    let slots = words.skip(1).filter_map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        // `[slot->-node]` is moving, and still its old owner's.
        (first <= last && last < SLOTS).then_some((first, last))
    });
    Some(NodeDescription { id, address, myself: has("myself"), master: has("master"), epoch, slots: slots.collect() })
}

/// Gives nodes the addresses by which they prefer to be found, by their names (`cluster-preferred-endpoint-type`). With TLS
/// (`names`) a host name that is known already stays, because certificates have names.
pub(super) fn prefer(nodes: &mut [NodeDescription], preferred: &HashMap<Box<str>, Address>, names: bool) {
    for node in nodes {
        if let Some(address) = preferred.get(&node.id) {
            let named = names && node.address.host.parse::<IpAddr>().is_err();
            let host = if named { Arc::clone(&node.address.host) } else { Arc::clone(&address.host) };
            node.address = Address { host, port: address.port };
        }
    }
}

/// Where a node prefers to be found, as another says that was asked at `asked`; `None`: nothing can be said. Without a host, or
/// with an empty one, it is to be found where that one was asked. `?` is a node that should have a name and has none.
pub(super) fn preferred_address(host: Option<&str>, port: i64, asked: &str) -> Option<Address> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    match host {
        Some("?") => None,
        Some(host) if !host.is_empty() => Some(Address::new(host, port)),
        _ => Some(Address::new(asked, port)),
    }
}

/// Which node owns which slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The owners of slots.
    pub owners: Vec<Address>,
    /// For each slot the index of its owner in `owners`.
    slots: Vec<Option<u16>>,
}

impl Layout {
    /// One node owns everything: a server alone.
    #[must_use]
    pub fn single(address: Address) -> Self {
        Self { owners: vec![address], slots: vec![Some(0); usize::from(SLOTS)] }
    }

    /// Of the descriptions of several nodes.
    #[must_use]
    pub fn merge<'a>(descriptions: impl Iterator<Item = &'a NodeDescription>) -> Self {
        let mut owners: Vec<Address> = Vec::new();
        let mut slots = vec![None; usize::from(SLOTS)];
        let mut claims = vec![(0, false); usize::from(SLOTS)];
        for node in descriptions.filter(|node| node.master && !node.slots.is_empty()) {
            let known = owners.iter().position(|owner| *owner == node.address);
            let index = known.unwrap_or_else(|| {
                owners.push(node.address.clone());
                owners.len() - 1
            });
            let Ok(index) = u16::try_from(index) else { continue };
            let claim = (node.epoch, node.myself);
            for slot in node.slots.iter().flat_map(|(first, last)| usize::from(*first)..=usize::from(*last)) {
                if slots[slot].is_none() || claim > claims[slot] {
                    slots[slot] = Some(index);
                    claims[slot] = claim;
                }
            }
        }
        Self { owners, slots }
    }

    /// The owner of a slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        self.owners.get(usize::from((*self.slots.get(usize::from(slot))?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
07c3 127.0.0.1:30004@31004,host4 slave e7d1 0 1426238317239 4 connected
67ed 127.0.0.1:30002@31002,host2,shard-id=1 master - 0 1426238316232 2 connected 5461-10922 [93-<-e7d1]
e7d1 :30001@31001,host1 myself,master - 0 0 1 connected 0-5458 5460 [93->-67ed]
aaaa ::1:30003@31003 master,fail - 0 0 3 disconnected 10923-16383
bbbb 127.0.0.1:0@0 master,noaddr - 0 0 9 disconnected 0-16383
cccc 127.0.0.1:30009@1 handshake - 0 0 0 connected
bad line
dddd 127.0.0.1:7@8 master - 0 0 1 connected 9-8 16384 x";

    #[test]
    fn an_answer_is_read() {
        let nodes = describe(NODES, "seed", false);
        let addresses: Vec<String> = nodes.iter().map(|node| node.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:30004", "127.0.0.1:30002", "seed:30001", "[::1]:30003", "127.0.0.1:7"]);
        assert!(!nodes[0].master && nodes[1].slots == [(5461, 10922)] && nodes[1].epoch == 2);
        assert!(nodes[2].myself && nodes[2].slots == [(0, 5458), (5460, 5460)]);
        assert!(nodes[4].slots.is_empty());
        assert_eq!(describe(NODES, "seed", true)[2].address, Address::new("host1", 30001));
        let layout = Layout::merge(nodes.iter());
        assert_eq!(layout.owners.len(), 3);
        assert_eq!(layout.owner(5460).map(|owner| owner.port), Some(30001));
        assert_eq!(layout.owner(5459), None);
        assert_eq!(layout.owner(SLOTS), None);
    }

    #[test]
    fn nodes_are_found_where_they_prefer() {
        let said = [
            ("07c3", Some("four.example"), 30_004),
            ("67ed", None, 40_002),
            ("e7d1", Some("?"), 1),
            ("aaaa", Some(""), 40_003),
            ("dddd", Some("seven.example"), 0),
            ("unheard", Some("x"), 9),
        ];
        let known = said
            .iter()
            .filter_map(|(id, host, port)| Some((Box::from(*id), preferred_address(*host, *port, "asked")?)));
        let preferred: HashMap<Box<str>, Address> = known.collect();
        let found = |names| {
            let mut nodes = describe(NODES, "seed", names);
            prefer(&mut nodes, &preferred, names);
            nodes.iter().map(|node| node.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(false), ["four.example:30004", "asked:40002", "seed:30001", "asked:40003", "127.0.0.1:7"]);
        // A certificate has the announced name.
        assert_eq!(found(true)[0], "host4:30004");
    }

    #[test]
    fn the_highest_epoch_wins_a_slot_in_every_order_of_asking() {
        let old =
            describe("a h:1@1 myself,master - 0 0 1 connected 0-9\nb h:2@2 master - 0 0 2 connected 10-19", "h", false);
        let new =
            describe("a h:1@1 master - 0 0 1 connected 0-8\nb h:2@2 myself,master - 0 0 7 connected 9-19", "h", false);
        for views in [[&old, &new], [&new, &old]] {
            let layout = Layout::merge(views.into_iter().flatten());
            assert_eq!([8, 9, 10].map(|slot| layout.owner(slot).map(|owner| owner.port)), [Some(1), Some(2), Some(2)]);
        }
        let itself = describe("c h:3@3 myself,master - 0 0 7 connected 9", "h", false);
        let said_of = describe("c h:3@3 master - 0 0 7 connected 9", "h", false);
        let layout =
            |views: [&Vec<NodeDescription>; 2]| Layout::merge(views.into_iter().flatten()).owner(9).map(|o| o.port);
        assert_eq!(layout([&said_of, &new]), Some(2));
        assert_eq!(layout([&itself, &describe("b h:2@2 master - 0 0 7 connected 9", "h", false)]), Some(3));
    }
}
