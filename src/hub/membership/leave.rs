//! How a connection leaves a room, and when a room is empty.
//!
//! Always holds: a connection that has left is in none of a room's lists; a command that was to bring it there and did not is
//! answered all the same; a room without members and pending joins is noted, to be given up when it has lingered.

use std::time::Instant;

use crate::{
    hub::{
        commands::signal::end_signals,
        connection::{key::ConnectionKey, state::State},
        core::{Core, clients::Clients},
        fanout::{
            room_index::RoomIndex,
            subscription::{Standing, Subscription},
        },
        membership::{event::MembershipEvent, pending_join::JoinPurpose},
    },
    model::{CommandId, Disconnect, ErrorCode, PresenceMode, Reply, Room},
};

impl Core {
    /// A client leaves a room.
    pub(crate) fn unsubscribe(&mut self, key: ConnectionKey, room: Room, id: Option<&CommandId>) {
        let index = self.rooms.find(&room);
        let Some(connection) = self.clients.connections.get_mut(key) else { return };
        let at = connection.subscriptions.iter().position(|s| Some(s.room) == index);
        let Some(at) = at else {
            let message = format!("this connection is not in {room}");
            return self.clients.reply(
                key,
                &Reply::Error { code: ErrorCode::NotSubscribed, message, room: Some(room) },
                id,
            );
        };
        let subscription = connection.subscriptions.swap_remove(at);
        let index = subscription.room;
        let early = format!("this connection left {room} before it was in it");
        self.turn_back(key, &subscription, ErrorCode::NotSubscribed, early);
        self.clients.tell_in(key, index, &Reply::Unsubscribed { room, code: None }, id);
        self.leave(key, subscription);
        self.clients.membership_event(key, MembershipEvent::Left { room: index });
    }

    /// Has a connection that is still on its way into a room turn back, and answers what brought it on its way; whether there
    /// was such a thing. Otherwise it is a member that has been told so.
    fn turn_back(&mut self, key: ConnectionKey, subscription: &Subscription, code: ErrorCode, message: String) -> bool {
        match self.call_off(key, subscription) {
            None | Some(JoinPurpose::CatchUp) => return false,
            // The pod put it there: no command waits for an answer.
            Some(JoinPurpose::Subscribe(_)) if subscription.server_side => {}
            // The client has left by another command. An answer to none of its commands would confuse it.
            Some(JoinPurpose::Subscribe(None)) if code == ErrorCode::NotSubscribed => {}
            Some(JoinPurpose::Resume) => {
                self.clients.membership_event(key, MembershipEvent::Refused { resumes: Some(subscription.dialect) });
            }
            Some(purpose) => self.refuse_join(key, subscription.room, purpose, code, message),
        }
        true
    }

    /// Takes a connection off a room's pending joins; why it was to join. `None`: it has none.
    fn call_off(&mut self, key: ConnectionKey, subscription: &Subscription) -> Option<JoinPurpose> {
        if subscription.standing != Standing::Joining {
            return None;
        }
        let stream = self.rooms.stream_of(subscription.room);
        self.rooms.get_mut(stream)?.stream_mut()?.cancel_join(key, subscription.room)
    }

    /// Takes a connection out of a room.
    pub(crate) fn leave(&mut self, key: ConnectionKey, subscription: Subscription) {
        let index = subscription.room;
        self.call_off(key, &subscription);
        if let Some(connection) = self.clients.connections.get_mut(key) {
            connection.end_room(index);
            if connection.session.signals.is_some() {
                end_signals(self, key, index);
            }
        }
        let moved = self.rooms.change_members(index, |local| match subscription.standing {
            Standing::Member(place) => local.members.remove(place).map(|moved| (moved, place)),
            Standing::Behind(_) => {
                local.behind -= 1;
                None
            }
            Standing::Joining => None,
        });
        let Some(moved) = moved else { return };
        if let Some((moved, place)) = moved {
            self.clients.connections.set_seat(moved, index, place);
        }
        let Some(local) = self.rooms.get(index) else { return };
        if local.policy.presence != PresenceMode::Off
            && let Some(connection) = self.clients.connections.get(key)
            && connection.transport.attends()
        {
            self.clients.services.presence.leave(&local.name, &connection.session.member());
        }
        self.note_if_empty(index);
    }

    /// Takes a connection out of a room and tells it why; whether it was in it.
    pub(crate) fn put_out(&mut self, key: ConnectionKey, index: RoomIndex, code: ErrorCode) -> bool {
        let id = self.clients.connections.reply_id(key, index);
        let Some(connection) = self.clients.connections.get_mut(key) else { return false };
        let Some(at) = connection.subscriptions.iter().position(|s| s.room == index) else { return false };
        let subscription = connection.subscriptions.swap_remove(at);
        let room = self.rooms[index].name.clone();
        let early = format!("this connection was taken out of {room} before it was in it");
        if !self.turn_back(key, &subscription, code, early) {
            self.clients.tell_in(key, index, &Reply::Unsubscribed { room, code: Some(code) }, id.as_ref());
        }
        self.leave(key, subscription);
        self.clients.membership_event(key, MembershipEvent::Left { room: index });
        true
    }

    /// Takes a connection out of all its rooms.
    pub(crate) fn leave_all(&mut self, key: ConnectionKey) {
        let Some(connection) = self.clients.connections.get_mut(key) else { return };
        for subscription in std::mem::take(&mut connection.subscriptions) {
            self.leave(key, subscription);
        }
    }

    /// Closes a connection: it leaves its rooms now, its socket goes when the client has heard of it.
    pub(crate) fn close(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        let Clients { connections, buffers, services, .. } = &mut self.clients;
        let Some(connection) = connections.get_mut(key) else { return };
        if connection.state != State::Open {
            return;
        }
        connection.close(disconnect, &mut buffers.sealed, &services.budget);
        self.leave_all(key);
        self.clients.expect_end(key);
    }

    /// Notes a room that is idle, to be given up when it has lingered.
    pub(crate) fn note_if_empty(&mut self, index: RoomIndex) {
        self.rooms.note_if_empty(index, Instant::now());
    }
}
