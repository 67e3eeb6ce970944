//! A worker's connections, side by side in memory: by key, by name, by user.
//!
//! Never hands out the key of a connection that is gone as another's: a task that comes back compares the connection's name.
//! Always holds: a key is as small as a member of a room must be, and looking it up costs one comparison.

use slab::Slab;
use smallvec::SmallVec;

use crate::{
    auth::Grant,
    hub::{
        access::permit::RefusalError,
        commands::publish_queue::QueuedPublish,
        connection::{Connection, key::ConnectionKey, state::State},
        fanout::{encoder::Encoder, members::Place, room_index::RoomIndex, subscription::Standing},
        worker::{
            connection_ids::{ConnectionIds, UserIndex},
            disconnect_log::DisconnectLog,
        },
    },
    model::{CommandId, ErrorCode, Target, UnixMillis},
    session::ConnectionId,
};

/// The connections of one worker. A fan-out that walks over them misses the page table's cache less often than over boxes.
pub struct Connections {
    slab: Slab<Connection>,
    /// The connections of each user.
    pub users: UserIndex,
    ids: ConnectionIds,
    disconnect_log: DisconnectLog,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slab: Slab::new(),
            users: UserIndex::default(),
            ids: ConnectionIds::new(),
            disconnect_log: DisconnectLog::default(),
        }
    }

    /// One connection.
    #[inline]
    #[must_use]
    pub fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        self.slab.get(key.0 as usize)
    }

    /// One connection, to be changed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.slab.get_mut(key.0 as usize)
    }

    /// The key and the name of the next connection, which [`Connections::insert`] takes in.
    #[must_use]
    pub fn announce(&mut self) -> (ConnectionKey, ConnectionId) {
        // A worker has far fewer than 2^32 files.
        let key = ConnectionKey(self.slab.vacant_key() as u32);
        (key, self.ids.next(key))
    }

    /// Takes a connection in.
    pub fn insert(&mut self, connection: Connection) {
        self.slab.insert(connection);
    }

    /// Takes a connection out, which ends; `None`: it is gone already.
    pub fn remove(&mut self, key: ConnectionKey, now_ms: u64) -> Option<Connection> {
        let connection = self.slab.try_remove(key.0 as usize)?;
        if let Some(user) = connection.session.grant.user() {
            self.users.leave(user, key);
        }
        self.disconnect_log.ended(&connection, now_ms);
        Some(connection)
    }

    /// The connection of a name, with its key.
    #[must_use]
    pub fn find(&self, name: ConnectionId) -> Option<(ConnectionKey, &Connection)> {
        let key = self.ids.place(name);
        Some((key, self.get(key).filter(|connection| connection.session.id == name)?))
    }

    /// The connection whose client knows itself by this `socket.id`. Looks at all of them: an operator asks, no client.
    #[must_use]
    pub fn by_socket_id(&self, sid: &str) -> Option<ConnectionId> {
        let has = |connection: &&Connection| {
            let link = connection.cold.as_ref().and_then(|cold| cold.link.as_ref());
            link.is_some_and(|link| link.spaces.iter().any(|space| *space.sid == *sid))
        };
        self.iter().find(has).map(|connection| connection.session.id)
    }

    /// The open connections that an order means.
    #[must_use]
    pub fn targets(&self, target: &Target) -> SmallVec<[ConnectionKey; 1]> {
        let mut keys = match target {
            Target::Connection(name) => {
                let id = name.parse().ok().or_else(|| self.by_socket_id(name));
                id.and_then(|id| self.find(id)).into_iter().map(|(key, _)| key).collect()
            }
            Target::User(user) => self.users.of(user),
        };
        keys.retain(|key| self.get(*key).is_some_and(|connection| connection.state == State::Open));
        keys
    }

    /// Has a connection's own task look at it.
    pub fn wake(&self, key: ConnectionKey) {
        if let Some(connection) = self.get(key) {
            connection.wake();
        }
    }

    /// A member of a room has another seat there.
    pub fn set_seat(&mut self, key: ConnectionKey, room: RoomIndex, seat: Place) {
        let Some(connection) = self.get_mut(key) else { return };
        if let Some(subscription) = connection.subscriptions.iter_mut().find(|s| s.room == room) {
            subscription.standing = Standing::Member(seat);
        }
    }

    /// Whether a connection can be told of a gap. One that is gone need not be.
    #[must_use]
    pub fn tells_gaps(&self, key: ConnectionKey, encoder: &Encoder) -> bool {
        self.get(key).is_none_or(|connection| encoder.tells_gaps(connection.format))
    }

    /// Whether a connection may be in one room more than it is in and `beside`.
    ///
    /// # Errors
    /// What its client is told.
    pub fn room_for(&self, key: ConnectionKey, beside: usize, max_rooms: usize) -> Result<(), RefusalError> {
        match self.get(key) {
            Some(connection) if connection.subscriptions.len() + beside >= max_rooms => {
                Err((ErrorCode::LimitExceeded, format!("at most {max_rooms} rooms on one connection")))
            }
            _ => Ok(()),
        }
    }

    /// Gives a connection a new grant, and says when that expires. A connection keeps its user for life.
    ///
    /// # Errors
    /// What its client is told.
    pub fn replace_grant(&mut self, key: ConnectionKey, grant: Grant) -> Result<Option<UnixMillis>, String> {
        let Some(connection) = self.get_mut(key) else { return Ok(None) };
        let session = &mut connection.session;
        if session.grant.user().is_some_and(|user| Some(user) != grant.user()) {
            return Err("the token is another user's: a connection keeps its user, so open another one".to_owned());
        }
        session.awaits_token = false;
        session.grant = grant;
        Ok(session.grant.claims().and_then(|claims| claims.expires_at))
    }

    /// The next of a connection's publishes that wait; `None` once there is none, or the connection is gone.
    pub fn next_publish(&mut self, key: ConnectionKey, name: ConnectionId) -> Option<QueuedPublish> {
        let connection = self.get_mut(key).filter(|connection| connection.session.id == name)?;
        let next = connection.publish_queue.as_mut().and_then(|publish_queue| publish_queue.take());
        if next.is_none() {
            connection.publish_queue = None;
        }
        next
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
        connection.cold.as_ref()?.link.as_ref()?.reply_id(dialect)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slab.iter().map(|(_, connection)| connection)
    }

    /// The keys in [`from`, `from` + `many`) that may be in use; `None`: there are none so high.
    #[must_use]
    pub fn keys_from(&self, from: usize, many: usize) -> Option<impl Iterator<Item = ConnectionKey> + use<>> {
        let to = self.slab.capacity().min(from + many);
        (from < to).then(|| (from..to).map(|key| ConnectionKey(key as u32)))
    }
}
