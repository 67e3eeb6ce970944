//! Which of a worker's connections has a name, and which are a user's.
//!
//! Always holds: a connection is under its own name, and under its user as long as it has one.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::Key;
use crate::session::ConnectionId;

/// Whom something is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// One connection.
    Connection(ConnectionId),
    /// All connections of a user.
    User(Arc<str>),
}

/// A worker's connections by name and by user.
#[derive(Debug, Default)]
pub struct Directory {
    names: HashMap<ConnectionId, Key>,
    users: HashMap<Arc<str>, SmallVec<[Key; 1]>>,
}

impl Directory {
    /// Enters a connection.
    pub fn enter(&mut self, name: ConnectionId, key: Key) {
        self.names.insert(name, key);
    }

    /// Enters a connection under its user.
    pub fn enter_user(&mut self, user: &Arc<str>, key: Key) {
        let keys = self.users.entry(Arc::clone(user)).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }

    /// Takes a connection out.
    pub fn leave(&mut self, name: ConnectionId, user: Option<&Arc<str>>, key: Key) {
        self.names.remove(&name);
        let Some(user) = user else { return };
        let Some(keys) = self.users.get_mut(user) else { return };
        keys.retain(|known| *known != key);
        if keys.is_empty() {
            self.users.remove(user);
        }
    }

    /// The connections that are meant.
    #[must_use]
    pub fn find(&self, who: &Who) -> SmallVec<[Key; 1]> {
        match who {
            Who::Connection(name) => self.names.get(name).copied().into_iter().collect(),
            Who::User(user) => self.users.get(user).cloned().unwrap_or_default(),
        }
    }

    /// The names and numbers of all connections.
    pub fn all(&self) -> impl Iterator<Item = (ConnectionId, Key)> {
        self.names.iter().map(|(name, key)| (*name, *key))
    }

    /// How many users have a connection here.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }
}
