//! What a worker says about its rooms and connections, and what the backend may do to them: answers to
//! [`WorkerCall`](super::worker_call::WorkerCall)s.
//!
//! Never part of the hot path. Always holds: an answer is at most as long as its limit, and says how much there is.

use std::{collections::BinaryHeap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    hub::{
        connection::{Connection, key::ConnectionKey, state::State, totals::Totals},
        fanout::{room_index::RoomIndex, subscription::Subscription},
        worker::Worker,
    },
    model::{Act, ErrorCode, Order, Position, Room, Target, UnixMillis, WorkerStats},
    session::ConnectionId,
};

/// A room with members here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomCount {
    /// Its name.
    pub room: Room,
    /// How many connections of this worker are in it.
    pub members: usize,
}

/// Some of a worker's rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomList {
    /// By name.
    pub rooms: Vec<RoomCount>,
    /// How many rooms fit the question, those that the limit cut off included.
    pub total: usize,
}

/// One room on a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomDetail {
    /// How many connections of this worker are in it.
    pub members: usize,
    /// The last event that this worker began to send; `None`: the broker has not answered yet.
    pub position: Option<Position>,
}

/// Which connections are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Those of this user.
    pub user: Option<Arc<str>>,
    /// Those in this room.
    pub room: Option<Room>,
    /// Those whose names come after this one.
    pub after: Option<ConnectionId>,
    /// At most so many.
    pub limit: usize,
}

/// Some of a worker's connections.
#[derive(Debug, Clone, Default)]
pub struct ConnectionList {
    /// By name.
    pub connections: Vec<ConnectionDetail>,
    /// How many fit the question, whatever the limit and `after`.
    pub total: usize,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct ConnectionDetail {
    /// Its name.
    pub id: ConnectionId,
    /// What its Socket.IO client knows itself as (`socket.id`), one in each of its namespaces.
    pub socket_ids: Vec<Box<str>>,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// When its token expires.
    pub expires_at: Option<UnixMillis>,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// What carries it.
    pub transport: &'static str,
    /// What it speaks.
    pub dialect: Arc<str>,
    /// Whether TLS ends at this pod.
    pub tls: bool,
    /// Whether broadcasts are compressed for it.
    pub compressed: bool,
    /// How long it has been here.
    pub age: Duration,
    /// How long nothing has come from it.
    pub silent: Duration,
    /// What its client calls itself.
    pub user_agent: Option<Arc<str>>,
    /// The rooms that it is in, with where their stream stands here.
    pub rooms: Vec<(Room, Option<Position>)>,
    /// What it moved.
    pub totals: Totals,
    /// Bytes that wait for it.
    pub owed: usize,
}

impl Worker {
    /// The first `limit` rooms, by name, that begin with `prefix` and come after `after`.
    #[must_use]
    pub fn list_rooms(&self, prefix: &str, after: Option<&str>, limit: usize) -> RoomList {
        let mut total = 0;
        let mut first = Smallest::new(limit);
        for (_, local) in self.core.rooms.iter() {
            let members = local.members.len() + local.behind;
            if members == 0 || !local.name.as_str().starts_with(prefix) {
                continue;
            }
            total += 1;
            if after.is_none_or(|after| local.name.as_str() > after) {
                first.offer(RoomCount { room: local.name.clone(), members });
            }
        }
        RoomList { rooms: first.sorted(), total }
    }

    /// One room; `None`: no connection of this worker is in it.
    #[must_use]
    pub fn inspect_room(&self, room: &Room) -> Option<RoomDetail> {
        let index = self.core.rooms.find(room)?;
        let local = self.core.rooms.get(index)?;
        let members = local.members.len() + local.behind;
        (members > 0).then(|| RoomDetail { members, position: self.core.rooms.position_of(index).cloned() })
    }

    /// The first connections, by name, that fit.
    #[must_use]
    pub fn list_connections(&self, filter: &ConnectionFilter) -> ConnectionList {
        let room = match &filter.room {
            None => None,
            Some(room) => match self.core.rooms.find(room) {
                Some(index) => Some(index),
                None => return ConnectionList::default(),
            },
        };
        let mut total = 0;
        let mut first = Smallest::new(filter.limit);
        let mut look_at = |id: ConnectionId, connection: &Connection| {
            if connection.state != State::Open || room.is_some_and(|room| !is_in(connection, room)) {
                return;
            }
            total += 1;
            if filter.after.is_none_or(|after| id > after) {
                first.offer(id);
            }
        };
        let connection = |key: ConnectionKey| self.core.clients.connections.get(key);
        match &filter.user {
            Some(user) => {
                let keys = self.core.clients.connections.users.of(user);
                keys.into_iter().filter_map(connection).for_each(|c| look_at(c.session.id, c));
            }
            None => self.core.clients.connections.iter().for_each(|c| look_at(c.session.id, c)),
        }
        let connections = first.sorted().into_iter().filter_map(|id| self.inspect_connection(id)).collect();
        ConnectionList { connections, total }
    }

    /// One connection; `None`: it is not on this worker.
    #[must_use]
    fn inspect_connection(&self, id: ConnectionId) -> Option<ConnectionDetail> {
        let (_, connection) = self.core.clients.connections.find(id)?;
        let room = |s: &Subscription| {
            let local = self.core.rooms.get(s.room)?;
            Some((local.name.clone(), self.core.rooms.position_of(s.room).cloned()))
        };
        let link = connection.cold.as_ref().and_then(|cold| cold.link.as_ref());
        let since = |at_ms| Duration::from_millis(self.core.clients.timers.now_ms().saturating_sub(at_ms));
        Some(ConnectionDetail {
            id,
            socket_ids: link
                .map(|link| link.spaces.iter().map(|space| space.sid.clone()).collect())
                .unwrap_or_default(),
            user: connection.session.grant.user().cloned(),
            expires_at: connection.session.grant.claims().and_then(|claims| claims.expires_at),
            address: connection.transport.address(),
            transport: connection.transport.name(),
            dialect: Arc::clone(self.services.dialects.name(connection.format.dialect)),
            tls: connection.transport.is_tls(),
            compressed: connection.format.framing.compression().is_some(),
            age: since(connection.since_ms),
            silent: since(connection.heard_ms),
            user_agent: connection.user_agent.clone(),
            rooms: connection.subscriptions.iter().filter_map(room).collect(),
            totals: connection.totals,
            owed: connection.queued_bytes(),
        })
    }

    /// The connection of a name: its own, or the `socket.id` of its Socket.IO client.
    #[must_use]
    pub fn inspect_named(&self, name: &str) -> Option<ConnectionDetail> {
        let id = name.parse().ok().or_else(|| self.core.clients.connections.by_socket_id(name))?;
        self.inspect_connection(id)
    }

    /// The totals.
    #[must_use]
    pub fn totals(&self) -> WorkerStats {
        let rooms = self.core.rooms.occupied();
        let (users, identified) =
            (self.core.clients.connections.users.users(), self.core.clients.connections.users.connections());
        WorkerStats { connections: self.core.clients.connections.len(), rooms, users, identified }
    }

    /// Does what a backend orders; to how many connections. `None`: the one that is meant is not here.
    pub fn obey(&mut self, order: &Order) -> Option<usize> {
        let keys = self.core.clients.connections.targets(&order.target);
        if keys.is_empty() && matches!(order.target, Target::Connection(_)) {
            return None;
        }
        let done = keys.into_iter().filter(|key| match &order.act {
            Act::Disconnect(disconnect) => {
                self.core.clients.request_close(*key, *disconnect);
                true
            }
            Act::Subscribe(room) => self.core.put_into(*key, room),
            Act::Unsubscribe(room) => {
                let index = self.core.rooms.find(room);
                index.is_some_and(|index| self.core.put_out(*key, index, ErrorCode::Removed))
            }
            Act::Erase => {
                self.close_for_good(*key);
                true
            }
            Act::Refresh(within_ms) => self.core.clients.demand_refresh(*key, Duration::from_millis(*within_ms)),
        });
        Some(done.count())
    }
}

fn is_in(connection: &Connection, room: RoomIndex) -> bool {
    connection.subscriptions.iter().any(|s| s.room == room)
}

/// The smallest of many, without keeping the others.
struct Smallest<T: Ord> {
    limit: usize,
    kept: BinaryHeap<T>,
}

impl<T: Ord> Smallest<T> {
    fn new(limit: usize) -> Self {
        Self { limit, kept: BinaryHeap::new() }
    }

    fn offer(&mut self, item: T) {
        if self.kept.len() < self.limit {
            self.kept.push(item);
        } else if let Some(mut largest) = self.kept.peek_mut()
            && item < *largest
        {
            *largest = item;
        }
    }

    fn sorted(self) -> Vec<T> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_smallest_are_kept(items in prop::collection::vec(0u16..500, 0..200), limit in 0usize..50) {
            let mut smallest = Smallest::new(limit);
            items.iter().for_each(|item| smallest.offer(*item));
            let mut expected = items;
            expected.sort_unstable();
            expected.truncate(limit);
            prop_assert_eq!(smallest.sorted(), expected);
        }
    }
}
