//! Where the other edges of a home are, as far as this one believes it: a request that belongs to a session of theirs is handed over there.
//!
//! Without I/O. Bounded: [`MOST`]. Always holds: no request goes to an address outside of `upstream.peers`, whatever a home or another edge
//! says; a pod's address is that pod's for as long as it lives, so that what was learned needs no question again.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::config::Network;

/// The most pods that are known at once.
const MOST: usize = 1_024;

/// The addresses of other edges.
pub(super) struct Peers {
    networks: Vec<Network>,
    known: Mutex<HashMap<String, String>>,
}

impl Peers {
    /// None yet, and only in these networks.
    pub(super) fn new(networks: Vec<Network>) -> Self {
        Self { networks, known: Mutex::default() }
    }

    /// Whether this edge hands anything over.
    pub(super) fn are_any(&self) -> bool {
        !self.networks.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a pod is, if that was learned.
    pub(super) fn of(&self, pod: &str) -> Option<String> {
        self.lock().get(pod).cloned()
    }

    /// A home says where a pod is. `None`: it is no place to which requests may go.
    pub(super) fn learn(&self, pod: &str, address: String) -> Option<String> {
        let place: SocketAddr = address.parse().ok()?;
        if !self.networks.iter().any(|network| network.contains(place.ip())) {
            return None;
        }
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(pod.to_owned(), address.clone());
        Some(address)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_the_networks_of_peers_only() {
        let peers = Peers::new(vec![Network::parse("10.1.0.0/16").unwrap()]);
        assert!(peers.are_any() && !Peers::new(Vec::new()).are_any());
        for bad in ["10.2.0.1:9000", "127.0.0.1:9000", "redis.internal:6379", "10.1.0.1", "[::1]:9000", ""] {
            assert_eq!(peers.learn("e", bad.to_owned()), None, "{bad}");
        }
        assert_eq!(peers.of("e"), None);
        let good = "10.1.2.3:9000".to_owned();
        assert_eq!(peers.learn("e", good.clone()), Some(good.clone()));
        assert_eq!((peers.of("e"), peers.of("f")), (Some(good.clone()), None));
        for n in 0..3 * MOST {
            peers.learn(&n.to_string(), good.clone());
        }
        assert!(peers.lock().len() <= MOST);
    }
}
