//! What each client address does: connections, TCP connections a second, requests a second. Shared by a pod's workers.
//!
//! Locks one of a few maps for each handshake, request and end of a connection, never for a message. Always holds: the maps are
//! bounded; an address that cannot be counted any more is let in, because limits by address must not keep strangers out.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    config::{AddressSettings, counted},
    hub::millis,
    session::{Bucket, Verdict},
};

/// How many maps there are: workers seldom wait for each other.
const SHARDS: usize = 16;

/// The most addresses of one map.
const MOST: usize = 8 * 1024;

/// An address that did nothing for so long is forgotten, if the map is full.
const FORGET_MS: u64 = 60_000;

/// A map that is full is looked through no more often than this, however many strangers come.
const SWEEP_MS: u64 = 1_000;

/// The addresses.
pub struct ClientAddresses {
    shards: Vec<Mutex<AddressShard>>,
    hasher: RandomState,
    began: Instant,
    /// The TCP connections of all.
    pod_handshakes: Mutex<Option<Bucket>>,
    /// The same for first packets over QUIC whose addresses are not proved.
    pod_unproved: Mutex<Option<Bucket>>,
}

/// Some of the addresses.
#[derive(Default)]
struct AddressShard {
    known: HashMap<IpAddr, Conduct>,
    /// When it is looked through again, if it is full.
    sweep_at_ms: u64,
}

/// What one address does.
struct Conduct {
    connections: usize,
    handshakes: Bucket,
    /// First packets over QUIC that say that they come from here, and may not.
    unproved: Bucket,
    requests: Bucket,
    seen_ms: u64,
}

/// A connection of an address. Counts until it is dropped.
pub struct CountedConnection {
    addresses: Arc<ClientAddresses>,
    key: IpAddr,
}

impl ClientAddresses {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (pod_handshakes, pod_unproved) = (Mutex::default(), Mutex::default());
        Self { shards, hasher: RandomState::new(), began: Instant::now(), pod_handshakes, pod_unproved }
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn shard(&self, key: IpAddr) -> MutexGuard<'_, AddressShard> {
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what is known of an address; `None`: it cannot be counted.
    fn with<T>(
        &self,
        address: IpAddr,
        settings: &AddressSettings,
        now_ms: u64,
        act: impl FnOnce(&mut Conduct) -> T,
    ) -> Option<T> {
        let key = counted(address);
        let mut shard = self.shard(key);
        if !shard.has_room_for(key, now_ms) {
            return None;
        }
        let conduct = shard.known.entry(key).or_insert_with(|| Conduct {
            connections: 0,
            handshakes: Bucket::new(settings.handshake_burst, now_ms),
            unproved: Bucket::new(settings.handshake_burst, now_ms),
            requests: Bucket::new(settings.request_burst, now_ms),
            seen_ms: now_ms,
        });
        conduct.seen_ms = now_ms;
        Some(act(conduct))
    }

    /// Whether an address may open one more TCP connection now. A proxy may, in its clients' names.
    #[must_use]
    pub fn may_shake_hands(&self, address: IpAddr, settings: &AddressSettings) -> bool {
        settings.trusts(address)
            || (settings.may_come(address) && self.may_shake_hands_at(address, settings, self.now_ms()))
    }

    /// Whether one more TCP connection may be opened now, whatever its address.
    #[must_use]
    pub fn pod_may_shake_hands(&self, settings: &AddressSettings) -> bool {
        self.pod_may_shake_hands_at(settings, self.now_ms())
    }

    fn pod_may_shake_hands_at(&self, settings: &AddressSettings, now_ms: u64) -> bool {
        take_of_pod(&self.pod_handshakes, settings, now_ms)
    }

    fn may_shake_hands_at(&self, address: IpAddr, settings: &AddressSettings, now_ms: u64) -> bool {
        let Some(rate) = settings.handshakes_per_second else { return true };
        let take = |conduct: &mut Conduct| conduct.handshakes.take(rate, settings.handshake_burst, now_ms);
        self.with(address, settings, now_ms, take).is_none_or(|verdict| verdict == Verdict::Fine)
    }

    /// Whether an address that has `proved` to be one, or not, may begin one more QUIC handshake now. What comes in its name before it is
    /// proved has a rate of its own, so that a stranger cannot use up the address's.
    #[must_use]
    pub fn may_begin_quic(&self, address: IpAddr, proved: bool, settings: &AddressSettings) -> bool {
        if proved {
            return self.may_shake_hands(address, settings) && self.pod_may_shake_hands(settings);
        }
        let now_ms = self.now_ms();
        let may = settings.trusts(address)
            || (settings.may_come(address) && self.may_begin_unproved_at(address, settings, now_ms));
        may && take_of_pod(&self.pod_unproved, settings, now_ms)
    }

    fn may_begin_unproved_at(&self, address: IpAddr, settings: &AddressSettings, now_ms: u64) -> bool {
        let Some(rate) = settings.handshakes_per_second else { return true };
        let take = |conduct: &mut Conduct| conduct.unproved.take(rate, settings.handshake_burst, now_ms);
        self.with(address, settings, now_ms, take).is_none_or(|verdict| verdict == Verdict::Fine)
    }

    /// A QUIC handshake that began before the address was proved has proved it: it counts as one of the address.
    pub fn count_proved(&self, address: IpAddr, settings: &AddressSettings) {
        // It is too late to refuse it: one less may follow.
        let _ = self.may_shake_hands(address, settings) && self.pod_may_shake_hands(settings);
    }

    /// Whether an address may send one more request now.
    #[must_use]
    pub fn may_ask(&self, address: IpAddr, settings: &AddressSettings) -> bool {
        let Some(rate) = settings.requests_per_second.filter(|_| !settings.trusts(address)) else { return true };
        let now_ms = self.now_ms();
        let take = |conduct: &mut Conduct| conduct.requests.take(rate, settings.request_burst, now_ms);
        self.with(address, settings, now_ms, take).is_none_or(|verdict| verdict == Verdict::Fine)
    }

    /// Counts one more connection of an address.
    ///
    /// # Errors
    /// It has as many as it may.
    pub fn connect(
        this: &Arc<Self>,
        address: IpAddr,
        settings: &AddressSettings,
    ) -> Result<Option<CountedConnection>, AddressFullError> {
        let Some(limit) = settings.max_connections.filter(|_| !settings.trusts(address)) else { return Ok(None) };
        let take = |conduct: &mut Conduct| {
            let fits = conduct.connections < limit;
            conduct.connections += usize::from(fits);
            fits
        };
        match this.with(address, settings, this.now_ms(), take) {
            Some(true) => Ok(Some(CountedConnection { addresses: Arc::clone(this), key: counted(address) })),
            Some(false) => Err(AddressFullError { limit }),
            None => Ok(None),
        }
    }
}

/// Takes one out of what all addresses may do together.
fn take_of_pod(bucket: &Mutex<Option<Bucket>>, settings: &AddressSettings, now_ms: u64) -> bool {
    let Some(rate) = settings.pod_handshakes_per_second else { return true };
    let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
    let bucket = bucket.get_or_insert_with(|| Bucket::new(settings.pod_handshake_burst, now_ms));
    bucket.take(rate, settings.pod_handshake_burst, now_ms) == Verdict::Fine
}

impl AddressShard {
    /// Whether an address is known, or can be.
    fn has_room_for(&mut self, key: IpAddr, now_ms: u64) -> bool {
        if self.known.len() < MOST || self.known.contains_key(&key) {
            return true;
        }
        if now_ms >= self.sweep_at_ms {
            self.sweep_at_ms = now_ms + SWEEP_MS;
            self.known
                .retain(|_, conduct| conduct.connections > 0 || now_ms.saturating_sub(conduct.seen_ms) < FORGET_MS);
        }
        self.known.len() < MOST
    }
}

/// An address has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this address is full: {limit} of {limit} connections")]
pub struct AddressFullError {
    /// `addresses.max_connections`.
    pub limit: usize,
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        if let Some(conduct) = self.addresses.shard(self.key).known.get_mut(&self.key) {
            conduct.connections -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Network;

    fn settings() -> AddressSettings {
        AddressSettings {
            max_connections: Some(2),
            handshakes_per_second: Some(10),
            handshake_burst: 3,
            ..AddressSettings::default()
        }
    }

    #[test]
    fn an_address_has_its_rate_and_others_have_theirs() {
        let (addresses, settings) = (ClientAddresses::new(), settings());
        let may = |address: &str, now_ms| addresses.may_shake_hands_at(address.parse().unwrap(), &settings, now_ms);
        assert!((0..3).all(|_| may("2001:db8::1", 0)));
        assert!(!may("2001:db8::2", 0), "the same /64");
        assert!(may("2001:db8:0:1::1", 0) && may("192.0.2.1", 0));
        assert!(may("2001:db8::3", 100) && !may("2001:db8::4", 100), "ten a second");
        assert!((0..100).all(|_| addresses.may_ask("192.0.2.1".parse().unwrap(), &settings)), "no rate is set");
    }

    #[test]
    fn all_addresses_together_have_a_rate() {
        let addresses = ClientAddresses::new();
        let settings = AddressSettings {
            pod_handshakes_per_second: Some(100),
            pod_handshake_burst: 20,
            ..AddressSettings::default()
        };
        let taken = |now_ms| (0..100).filter(|_| addresses.pod_may_shake_hands_at(&settings, now_ms)).count();
        assert_eq!([taken(0), taken(0), taken(50), taken(10_000)], [20, 0, 5, 20]);
        assert!((0..100).all(|_| addresses.pod_may_shake_hands_at(&AddressSettings::default(), 0)), "none is set");
    }

    #[test]
    fn what_comes_in_an_addresss_name_does_not_use_up_its_rate() {
        let (addresses, settings) = (ClientAddresses::new(), settings());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!((0..9).filter(|_| addresses.may_begin_unproved_at(address, &settings, 0)).count(), 3);
        assert!((0..3).all(|_| addresses.may_shake_hands_at(address, &settings, 0)), "its own rate is whole");
        assert!(!addresses.may_shake_hands_at(address, &settings, 0));
        assert!(addresses.may_begin_unproved_at(address, &settings, 100), "each fills again");
        let denied = AddressSettings { deny: vec![Network::parse("192.0.2.0/24").unwrap()], ..settings.clone() };
        assert!(!addresses.may_begin_quic("192.0.2.9".parse().unwrap(), false, &denied));
        let trusted = AddressSettings { trusted_proxies: denied.deny, ..settings };
        assert!((0..9).all(|_| addresses.may_begin_quic(address, false, &trusted)), "a balancer's is not limited");
        let together = AddressSettings {
            pod_handshakes_per_second: Some(1),
            pod_handshake_burst: 2,
            ..AddressSettings::default()
        };
        assert_eq!((0..9).filter(|_| take_of_pod(&addresses.pod_unproved, &together, 0)).count(), 2);
        assert!(addresses.pod_may_shake_hands_at(&together, 0), "the pod's own rate is whole too");
    }

    #[test]
    fn a_connection_counts_until_it_ends() {
        let (addresses, settings) = (Arc::new(ClientAddresses::new()), settings());
        let connect = |address: &str| ClientAddresses::connect(&addresses, address.parse().unwrap(), &settings);
        let (first, _second) = (connect("192.0.2.1").unwrap(), connect("::ffff:192.0.2.1").unwrap());
        let refused = connect("192.0.2.1").err().unwrap();
        assert_eq!(refused.to_string(), "this address is full: 2 of 2 connections");
        assert!(connect("192.0.2.2").is_ok());
        drop(first);
        assert!(connect("192.0.2.1").is_ok());
    }

    #[test]
    fn the_maps_are_bounded() {
        let (addresses, settings) = (ClientAddresses::new(), settings());
        let count = || addresses.shards.iter().map(|shard| shard.lock().unwrap().known.len()).sum::<usize>();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..(3 * SHARDS * MOST) as u32 {
            addresses.may_shake_hands_at(address(n), &settings, 0);
        }
        assert_eq!(count(), SHARDS * MOST);
        assert!(addresses.may_shake_hands_at(IpAddr::from([255; 4]), &settings, 0), "a stranger is let in");
        addresses.may_shake_hands_at(IpAddr::from([255; 4]), &settings, FORGET_MS);
        assert!(count() < SHARDS * MOST, "the map of that address has forgotten the others");
    }

    #[test]
    fn a_full_map_is_not_looked_through_for_each_stranger() {
        let (mut shard, settings) = (AddressShard::default(), settings());
        let stranger = IpAddr::from([255; 4]);
        for n in 0..MOST as u32 {
            let seen_ms = if n == 0 { 500 } else { u64::from(n) };
            let bucket = || Bucket::new(settings.handshake_burst, 0);
            let (handshakes, unproved, requests) = (bucket(), bucket(), bucket());
            let conduct = Conduct { connections: 0, handshakes, unproved, requests, seen_ms };
            shard.known.insert(IpAddr::from(n.to_be_bytes()), conduct);
        }
        assert!(!shard.has_room_for(stranger, FORGET_MS), "none is old enough");
        // One is a moment later, and is found at the next look.
        assert!(!shard.has_room_for(stranger, FORGET_MS + SWEEP_MS - 1));
        assert!(shard.has_room_for(stranger, FORGET_MS + SWEEP_MS));
        assert!(shard.has_room_for(IpAddr::from([0, 0, 7, 0]), FORGET_MS), "it is known");
    }
}
