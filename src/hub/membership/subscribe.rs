//! How a connection gets a place in a room: whether it may, by its grant, the policy and the backend.
//!
//! Never sends anything of the room: that begins when the place is a member's. Always holds: a join that is
//! refused leaves no room behind.

use std::sync::Arc;

use crate::{
    hub::{
        access::{
            hook_gate::ask_hook,
            permit::{JoinPermit, RefusalError},
        },
        connection::{Connection, key::ConnectionKey, state::State},
        core::Core,
        fanout::{
            members::Members,
            room::{LocalRoom, RoomLog},
            room_index::RoomIndex,
            room_stream::RoomStream,
            subscription::{Standing, Subscription},
        },
        membership::{
            event::MembershipEvent,
            pending_join::{JoinPurpose, Parts, PendingJoin},
            subscribe_request::{Placement, SubscribeOutcome, SubscribeRequest},
        },
        worker::queues::ToSequencer,
    },
    model::{CommandId, ErrorCode, Policy, Reply, Room, SubscribeTo},
};

/// The rooms of one command that are more than a connection may be in: told in one error, however many they are.
#[derive(Debug, Default)]
struct BeyondLimit {
    first: Option<(Room, String)>,
    others: usize,
}

impl BeyondLimit {
    fn add(&mut self, room: Room, message: String) {
        match self.first {
            Some(_) => self.others += 1,
            None => self.first = Some((room, message)),
        }
    }

    fn error(self) -> Option<Reply> {
        let (room, message) = self.first?;
        let code = ErrorCode::LimitExceeded;
        Some(match self.others {
            0 => Reply::Error { code, message, room: Some(room) },
            others => {
                let message = format!("{message}: {room} and {others} more of this command are beyond that");
                Reply::Error { code, message, room: None }
            }
        })
    }
}

impl Core {
    /// Lets a connection into rooms; each is answered by itself.
    pub fn subscribe(&mut self, key: ConnectionKey, rooms: Vec<SubscribeTo>, id: Option<&CommandId>) {
        // A session's record is written before it joins.
        if self.clients.connections.get(key).is_some_and(Connection::is_engine) {
            return self.clients.membership_event(key, MembershipEvent::Requested { rooms, id: id.cloned() });
        }
        self.subscribe_to_all(key, rooms.into_iter().map(|room| (room, None)), id);
    }

    /// Begins subscriptions, with the permits of the backend where it was asked already.
    pub(crate) fn subscribe_to_all(
        &mut self,
        key: ConnectionKey,
        rooms: impl IntoIterator<Item = (SubscribeTo, Option<JoinPermit>)>,
        id: Option<&CommandId>,
    ) {
        let dialect = self.clients.connections.get(key).and_then(|connection| connection.dialect_of(id));
        let (mut asking, mut beyond) = (Vec::new(), BeyondLimit::default());
        for (SubscribeTo { room, since, spelling }, permit) in rooms {
            let purpose = JoinPurpose::Subscribe(id.cloned());
            let entry = SubscribeRequest { since, spelling, dialect, purpose, permit, ..SubscribeRequest::default() };
            let refused = match self.subscribe_to(key, &room, entry) {
                Ok(SubscribeOutcome::Begun) => continue,
                Ok(SubscribeOutcome::NeedsPermit(entry)) => {
                    match self.clients.connections.room_for(
                        key,
                        asking.len(),
                        self.clients.settings.limits.in_welcome.max_rooms,
                    ) {
                        Ok(()) => {
                            asking.push((room, entry));
                            continue;
                        }
                        Err(refused) => refused,
                    }
                }
                Err(refused) => refused,
            };
            match refused {
                (ErrorCode::LimitExceeded, message) => beyond.add(room, message),
                (code, message) => self.clients.reply(key, &Reply::Error { code, message, room: Some(room) }, id),
            }
        }
        if let Some(error) = beyond.error() {
            self.clients.reply(key, &error, id);
        }
        ask_hook(self, key, asking);
    }

    /// Begins a subscription.
    pub(crate) fn subscribe_to(
        &mut self,
        key: ConnectionKey,
        room: &Room,
        entry: SubscribeRequest,
    ) -> Result<SubscribeOutcome, RefusalError> {
        let (index, entry) = match self.place_in(key, room, entry)? {
            Placement::There(index, entry) => (index, entry),
            Placement::NeedsPermit(entry) => return Ok(SubscribeOutcome::NeedsPermit(entry)),
            Placement::Gone => return Ok(SubscribeOutcome::Begun),
        };
        let SubscribeRequest { since, purpose, permit, .. } = entry;
        let parts = if self.rooms[index].shares().is_some() { [(index, 0)].into() } else { Parts::new() };
        let snapshot = permit.and_then(|permit| permit.snapshot);
        self.join(self.rooms.stream_of(index), PendingJoin { key, since, purpose, snapshot, parts });
        Ok(SubscribeOutcome::Begun)
    }

    /// Notes that a connection is in a room, if it may be. What it is sent there is still to be decided.
    pub(crate) fn place_in(
        &mut self,
        key: ConnectionKey,
        room: &Room,
        entry: SubscribeRequest,
    ) -> Result<Placement, RefusalError> {
        // A join that is refused leaves no room behind.
        let known = self.rooms.find(room);
        let policy = match known {
            Some(index) => Arc::clone(&self.rooms[index].policy),
            None => self.clients.services.policy(room),
        };
        let Some(connection) = self.clients.connections.get_mut(key) else { return Ok(Placement::Gone) };
        if connection.state != State::Open {
            return Ok(Placement::Gone);
        }
        let mut asks = policy.subscribe_hook && !entry.server_side && entry.permit.is_none();
        if let Some(at) = connection.subscriptions.iter().position(|s| Some(s.room) == known) {
            if entry.server_side || !connection.subscriptions[at].server_side {
                return Err((ErrorCode::AlreadySubscribed, format!("already subscribed to {room}")));
            }
            // It was put there, and now says itself from where it wants to go on: that counts instead.
            let subscription = connection.subscriptions.swap_remove(at);
            self.leave(key, subscription);
            // The decision was made when it was put there.
            asks = false;
        }
        self.clients.connections.room_for(key, 0, self.clients.settings.limits.in_welcome.max_rooms)?;
        let Some(connection) = self.clients.connections.get_mut(key) else { return Ok(Placement::Gone) };
        if !entry.server_side && !connection.session.grant.may_join(room, policy.join) {
            return Err((ErrorCode::Forbidden, format!("this connection may not join {room}")));
        }
        // Connections are refused before the memory is used up; those that are in could fill it with names.
        if known.is_none() && !entry.server_side && self.clients.services.memory.is_full() {
            self.clients.services.metrics.pressures.process_memory.refused(1);
            let why = format!("this pod is short of memory and takes no new room: {room}; ask again later");
            return Err((ErrorCode::Unavailable, why));
        }
        if asks {
            return Ok(Placement::NeedsPermit(entry));
        }
        let SubscribeRequest { spelling, server_side, dialect, .. } = entry;
        let dialect = dialect.unwrap_or(connection.format.dialect);
        if policy.log_of(room).is_some() && self.clients.encoder.tells_positions(dialect) {
            let why = format!(
                "{room} shares its log with other rooms, and has no positions of its own as this protocol needs them"
            );
            return Err((ErrorCode::Forbidden, why));
        }
        let index = self.room_index(room, policy);
        let Some(connection) = self.clients.connections.get_mut(key) else { return Ok(Placement::Gone) };
        let standing = Standing::Joining;
        connection.subscriptions.push(Subscription { room: index, standing, server_side, spelling, dialect });
        self.rooms[index].empty_since = None;
        Ok(Placement::There(index, entry))
    }

    /// The room's index on this worker; a new room's sequencer is asked where the stream stands.
    fn room_index(&mut self, room: &Room, policy: Arc<Policy>) -> RoomIndex {
        if let Some(index) = self.rooms.find(room) {
            return index;
        }
        let log = match policy.log_of(room) {
            Some(log) => RoomLog::Shared(self.room_index(log, self.clients.services.policy(log))),
            None => RoomLog::Own(RoomStream::new(room.clone())),
        };
        let mut local = LocalRoom::new(room.clone(), policy, log);
        if let Some(observer) = &self.clients.services.metrics.observer {
            local.members = Members::shown_by(observer.members_gauge(room.namespace()));
        }
        let log = local.shares();
        let index = self.rooms.insert(local);
        match log {
            Some(log) => {
                let log = &mut self.rooms[log];
                log.empty_since = None;
                if let Some(stream) = log.stream_mut() {
                    stream.add_part(room.clone(), index);
                }
            }
            None => self.ask_sequencer(index),
        }
        index
    }

    /// Asks a room's sequencer to be put on its list. A full queue is tried again on the timer.
    fn ask_sequencer(&mut self, index: RoomIndex) {
        let name = self.rooms[index].name.clone();
        if !self.clients.services.queues.tell_sequencer(&name, ToSequencer::Join(name.clone(), self.index)) {
            self.rooms.to_ask_again.push(index);
        }
    }

    /// Asks the sequencers again whose queues were full.
    pub(crate) fn ask_sequencers_again(&mut self) {
        for index in std::mem::take(&mut self.rooms.to_ask_again) {
            if self.rooms.contains(index) {
                self.ask_sequencer(index);
            }
        }
    }

    /// Puts a connection into a room, unasked; whether it was not in it yet.
    pub(crate) fn put_into(&mut self, key: ConnectionKey, room: &Room) -> bool {
        let request = SubscribeRequest { server_side: true, ..SubscribeRequest::default() };
        matches!(self.subscribe_to(key, room, request), Ok(SubscribeOutcome::Begun))
    }
}
