//! A worker's connections, side by side in memory.
//!
//! Never hands out the key of a connection that is gone as another's: a task that comes back compares the connection's name.
//! Always holds: a key is as small as a member of a room must be, and looking it up costs one comparison.

use slab::Slab;

use crate::{
    hub::{
        RoomIndex,
        connection::{Connection, key::ConnectionKey},
    },
    model::CommandId,
    session::ConnectionId,
};

/// The connections of one worker. A fan-out that walks over them misses the page table's cache less often than over boxes.
#[derive(Default)]
pub struct Connections(Slab<Connection>);

impl Connections {
    /// One connection.
    #[inline]
    #[must_use]
    pub fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        self.0.get(key.0 as usize)
    }

    /// One connection, to be changed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.0.get_mut(key.0 as usize)
    }

    /// The key that the next connection gets.
    #[must_use]
    pub fn next_key(&self) -> ConnectionKey {
        // A worker has far fewer than 2^32 files.
        ConnectionKey(self.0.vacant_key() as u32)
    }

    /// Takes a connection in, under [`Connections::next_key`].
    pub fn insert(&mut self, connection: Connection) -> ConnectionKey {
        ConnectionKey(self.0.insert(connection) as u32)
    }

    /// Takes a connection out; `None`: it is gone already.
    pub fn remove(&mut self, key: ConnectionKey) -> Option<Connection> {
        self.0.try_remove(key.0 as usize)
    }

    /// Whether a key still stands for the connection of that name.
    #[must_use]
    pub fn is(&self, key: ConnectionKey, name: ConnectionId) -> bool {
        self.get(key).is_some_and(|connection| connection.session.id == name)
    }

    /// As whose answer a connection is told something of a room that answers no command. `None`: that makes no difference.
    #[must_use]
    pub fn reply_id(&self, key: ConnectionKey, room: RoomIndex) -> Option<CommandId> {
        let connection = self.get(key)?;
        let dialect = connection.subscriptions.iter().find(|subscription| subscription.room == room)?.dialect;
        connection.aside.as_ref()?.link.as_ref()?.reply_id(dialect)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.0.iter().map(|(_, connection)| connection)
    }

    /// The keys in [`from`, `from` + `many`) that may be in use; `None`: there are none so high.
    #[must_use]
    pub fn keys_from(&self, from: usize, many: usize) -> Option<impl Iterator<Item = ConnectionKey> + use<>> {
        let to = self.0.capacity().min(from + many);
        (from < to).then(|| (from..to).map(|key| ConnectionKey(key as u32)))
    }
}
