//! Which of a worker's connections has a name, and which are a user's.
//!
//! Always holds: a connection is under its user as long as it has one. A name leads to a place on the worker that gave it;
//! a look-up asks whether the connection there still has that name.

use std::{collections::HashMap, sync::Arc, time::Instant};

use smallvec::SmallVec;

use crate::{hub::connection::key::ConnectionKey, session::ConnectionId};

/// The names that a worker gives: each holds its connection's place, so that finding it needs no table.
///
/// A name is (serial, place), hidden by a random start and spread by a multiplication that can be undone.
#[derive(Debug)]
pub struct ConnectionIds {
    hide: u64,
    serial: u64,
}

impl ConnectionIds {
    const PLACE_BITS: u32 = 24;
    /// An odd number visits every other once, far apart.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    /// `SPREAD` times this is 1.
    const GATHER: u64 = 0xf1de_83e1_9937_733d;

    /// Names that no other worker or pod gives, as far as chance goes.
    #[must_use]
    pub fn new() -> Self {
        let hide = getrandom::u64().unwrap_or_else(|_| Instant::now().elapsed().as_nanos() as u64);
        Self { hide, serial: 0 }
    }

    /// The next name, for the connection in this place.
    pub fn next(&mut self, key: ConnectionKey) -> ConnectionId {
        self.serial += 1;
        let plain = (self.serial << Self::PLACE_BITS) | u64::from(key.0);
        ConnectionId((plain ^ self.hide).wrapping_mul(Self::SPREAD))
    }

    /// The place that a name leads to; any, if this worker did not give it.
    #[must_use]
    pub fn place(&self, name: ConnectionId) -> ConnectionKey {
        let plain = name.0.wrapping_mul(Self::GATHER) ^ self.hide;
        ConnectionKey((plain & ((1 << Self::PLACE_BITS) - 1)) as u32)
    }
}

/// A worker's connections by user.
#[derive(Debug, Default)]
pub struct UserIndex(HashMap<Arc<str>, SmallVec<[ConnectionKey; 1]>>);

impl UserIndex {
    /// Enters a connection under its user. `false`: it is there already.
    pub fn enter(&mut self, user: &Arc<str>, key: ConnectionKey) -> bool {
        let keys = self.0.entry(Arc::clone(user)).or_default();
        let is_new = !keys.contains(&key);
        if is_new {
            keys.push(key);
        }
        is_new
    }

    /// Whether a connection is entered under this user.
    #[must_use]
    pub fn has(&self, user: &str, key: ConnectionKey) -> bool {
        self.0.get(user).is_some_and(|keys| keys.contains(&key))
    }

    /// Takes a connection out.
    pub fn leave(&mut self, user: &Arc<str>, key: ConnectionKey) {
        let Some(keys) = self.0.get_mut(user) else { return };
        keys.retain(|known| *known != key);
        if keys.is_empty() {
            self.0.remove(user);
        }
    }

    /// The user's connections.
    #[must_use]
    pub fn of(&self, user: &str) -> SmallVec<[ConnectionKey; 1]> {
        self.0.get(user).cloned().unwrap_or_default()
    }

    /// How many connections have a user.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.values().map(SmallVec::len).sum()
    }

    /// How many users have a connection here.
    #[must_use]
    pub fn users(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_place_and_is_given_once() {
        assert_eq!(ConnectionIds::SPREAD.wrapping_mul(ConnectionIds::GATHER), 1);
        let (mut names, other) = (ConnectionIds::new(), ConnectionIds::new());
        let mut given = std::collections::HashSet::new();
        for key in [0, 1, 7, 7, 65_536, (1 << 24) - 1, 7] {
            let key = ConnectionKey(key);
            let name = names.next(key);
            assert_eq!(names.place(name), key);
            assert!(given.insert(name));
        }
        assert!(given.iter().any(|name| other.place(*name) != names.place(*name)), "names are a worker's own");
    }
}
