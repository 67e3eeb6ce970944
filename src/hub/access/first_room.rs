//! The room that a connection begins with, if it does not come into it.
//!
//! Always holds: a connection that would have been greeted there is refused and closed; any other is told, and goes on with its other
//! rooms.

use crate::{
    hub::{access::opening_request::FirstRoom, connection::key::ConnectionKey, core::Core},
    model::{ErrorCode, Reply, Room},
};

/// A connection cannot enter its first room.
pub(crate) fn refuse(
    core: &mut Core,
    key: ConnectionKey,
    room: Room,
    first: FirstRoom,
    code: ErrorCode,
    message: String,
) {
    let FirstRoom { request, greets, rest, id } = first;
    if greets {
        return core.clients.turn_off(key, &request, code, &message);
    }
    core.clients.reply(key, &Reply::Error { code, message, room: Some(room) }, id.as_ref());
    core.subscribe(key, rest, id.as_ref());
}
