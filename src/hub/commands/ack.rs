//! What clients say and ask of how far they have read.
//!
//! Never waits. Always holds: an ack of what this worker has sent to the room's members costs no question to the broker; any other
//! one is judged by the room's log.

use std::sync::Arc;

use crate::{
    auth::Grant,
    broker::Standing,
    hub::{
        access::{hook_gate::may_read_about, permit::Principal},
        acks::{ack_book::WaitingAck, rounds::busy},
        commands::refusal::refusal,
        connection::key::ConnectionKey,
        core::Core,
        worker::services::Services,
    },
    model::{Epoch, ErrorCode, Offset, Policy, Position, Reply, Room},
};

/// What a client says that it has read.
pub(crate) struct ReadUpTo {
    pub(crate) room: Room,
    /// `None`: the log's own.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) offset: Offset,
}

/// What becomes of an ack of a connection.
pub(crate) enum AckOutcome {
    /// It is decided.
    Now(Reply),
    /// The broker is asked.
    Asked(WaitingAck),
}

/// Takes in a connection's ack, or says what is to be asked.
pub(crate) fn ack(core: &Core, key: ConnectionKey, read: ReadUpTo) -> Option<AckOutcome> {
    let grant = &core.clients.connections.get(key)?.session.grant;
    if !may_read_about(core, key, &read.room) {
        return Some(AckOutcome::Now(decided_by_backend(read.room)));
    }
    let known = core.rooms.find(&read.room).and_then(|index| core.rooms.position_of(index));
    let sent = known
        .filter(|known| read.offset <= known.offset && read.epoch.as_ref().is_none_or(|epoch| *epoch == known.epoch));
    let Some(sent) = sent else { return waiting(grant, read).map(AckOutcome::Asked) };
    let epoch = Some(sent.epoch.clone());
    let ack = waiting(grant, ReadUpTo { epoch, ..read })?;
    let room = ack.room.clone();
    let taken = core.services().acks.put(ack);
    Some(AckOutcome::Now(if taken { Reply::Done { expires_at: None } } else { busy(room) }))
}

/// Takes in that a device has got a room's events, for their authors to be told.
pub(crate) fn delivered(core: &Core, key: ConnectionKey, got: ReadUpTo) -> Option<Reply> {
    let grant = &core.clients.connections.get(key)?.session.grant;
    if !may_read_about(core, key, &got.room) {
        return Some(decided_by_backend(got.room));
    }
    let known = core.rooms.find(&got.room).and_then(|index| core.rooms.position_of(index));
    let own = known.map(|known| known.epoch.clone());
    Some(take_delivered(core.services(), grant, ReadUpTo { epoch: got.epoch.or(own), ..got }))
}

/// What is said to a client of a room that only the backend lets it into.
pub(crate) fn decided_by_backend(room: Room) -> Reply {
    let message = format!("the backend decides who may join {room}: join it first");
    Reply::Error { code: ErrorCode::NotSubscribed, message, room: Some(room) }
}

/// An ack of the user of this grant.
fn waiting(grant: &Grant, read: ReadUpTo) -> Option<WaitingAck> {
    let ReadUpTo { room, epoch, offset } = read;
    let position = Position::new(epoch.unwrap_or_else(Standing::own), offset);
    let claims = grant.claims()?;
    let (personal, receipts) = (claims.personal_room.clone(), claims.receipts);
    Some(WaitingAck { user: Arc::clone(claims.user.as_ref()?), room, positions: vec![position], personal, receipts })
}

/// Has authors told that a client has got what they wrote.
pub(crate) fn take_delivered(services: &Services, grant: &Grant, got: ReadUpTo) -> Reply {
    let ReadUpTo { room, epoch, offset } = got;
    let Some(epoch) = epoch else {
        let message = format!("give the epoch of the offset: {room} is none of the rooms of this connection");
        return Reply::Error { code: ErrorCode::BadPosition, message, room: Some(room) };
    };
    // One that tells nothing of itself is told of by nothing.
    let user = grant.claims().filter(|claims| claims.receipts).and_then(|claims| claims.user.as_ref());
    let taken = user.is_none_or(|user| services.acks.delivered.put(user, room.clone(), Position::new(epoch, offset)));
    if taken { Reply::Done { expires_at: None } } else { busy(room) }
}

impl Services {
    /// Has the room's log judge an ack.
    pub(crate) async fn judged(&self, ack: WaitingAck) -> Reply {
        let room = ack.room.clone();
        let Some(answered) = self.acks.ask(ack) else { return busy(room) };
        // The pod ends.
        answered.await.unwrap_or_else(|_| busy(room))
    }

    /// An ack of a client without a connection.
    pub(crate) async fn client_ack(&self, principal: &Principal, read: ReadUpTo) -> Reply {
        match waiting(&principal.grant, read) {
            Some(ack) => self.judged(ack).await,
            None => Reply::Done { expires_at: None },
        }
    }

    /// How much the user of a client has not read. `is_in`: whether it is in a room. Of one that only the backend lets it into it is told
    /// nothing otherwise, whatever it has read there before.
    pub(crate) async fn client_unread(&self, grant: &Grant, rooms: Vec<Room>, is_in: impl Fn(&Room) -> bool) -> Reply {
        let Some(user) = grant.user() else { return Reply::Unread { rooms: Vec::new() } };
        let may_see =
            |room: &Room, policy: &Policy| grant.may_join(room, policy.join) && (!policy.subscribe_hook || is_in(room));
        match self.unread(user, rooms, may_see).await {
            Ok(rooms) => Reply::Unread { rooms },
            Err(error) => refusal(&error),
        }
    }
}
