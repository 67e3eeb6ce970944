//! How a connection begins once it is let in: what its dialect says first, the rooms that it enters unasked, the greeting
//! that waits for the first of them, the signs of life that follow.
//!
//! Never decides whether a room may be entered. Always holds: a connection that is greeted in a room hears of that before anything
//! that comes there, or is refused and closed.

use std::sync::Arc;

use http::Uri;

use crate::{
    hub::{
        access::{
            first_room,
            hook_gate::ask_hook,
            identity::identify,
            opening_request::{FirstRoom, OpeningRequest},
        },
        connection::key::ConnectionKey,
        core::Core,
        membership::{
            pending_join::JoinPurpose,
            subscribe_request::{SubscribeOutcome, SubscribeRequest},
        },
    },
    model::{ErrorCode, Room, SubscribeTo},
    protocol::OpenOutcome,
};

/// Begins a connection as its dialect does.
pub(crate) fn open(core: &mut Core, key: ConnectionKey, target: &Uri) {
    let Some(connection) = core.clients.connections.get(key) else { return };
    let dialect = connection.format.dialect;
    begin_connection(core, key, OpeningRequest { dialect, target: target.clone(), auth: "".into(), id: None });
}

/// Begins a connection as one of its dialects does; whether it was not refused.
pub(crate) fn begin_connection(core: &mut Core, key: ConnectionKey, request: OpeningRequest) -> bool {
    let OpenOutcome { mut rooms, named, greets_in_room: greets, after } = match core.clients.say_first(key, &request) {
        None => return false,
        Some(Ok(outcome)) => outcome,
        Some(Err(disconnect)) => {
            core.clients.close_after(key, disconnect);
            return false;
        }
    };
    // A request has named its rooms, those of its dialect too.
    if core.clients.connections.get(key).is_some_and(|connection| !connection.transport.attends()) {
        identify(core, key);
        return true;
    }
    if let Some(connection) = core.clients.connections.get_mut(key).filter(|_| !named.is_empty()) {
        // An Engine.IO session begins in each of its namespaces.
        connection.session.begins_in(named);
    }
    // Where it goes on in its own room counts: it is not put there from now on.
    if !greets {
        let (going_on, others): (Vec<_>, Vec<_>) = rooms.into_iter().partition(|room| room.since.is_some());
        core.subscribe(key, going_on, request.id.as_ref());
        rooms = others;
    }
    identify(core, key);
    core.clients.begin_heartbeat(key, request.dialect);
    if rooms.is_empty() || !(greets || after.is_some()) {
        core.subscribe(key, rooms, request.id.as_ref());
        return true;
    }
    let room = rooms.remove(0);
    let id = request.id.clone();
    let first = FirstRoom { request, greets, rest: rooms, id };
    match after {
        Some(event) if may_read(core, key, &room.room) => look_up_event(core, key, event, room, first),
        _ => enter_first(core, key, room, first),
    }
    true
}

/// Whether a connection may read the log of a room, and there is one.
fn may_read(core: &Core, key: ConnectionKey, room: &Room) -> bool {
    let policy = core.services().policy(room);
    let grant = core.clients.connections.get(key).map(|connection| &connection.session.grant);
    policy.history_size > 0 && grant.is_some_and(|grant| grant.may_join(room, policy.join))
}

/// Finds the event behind which a connection goes on in its first room. What it sends meanwhile waits.
fn look_up_event(core: &mut Core, key: ConnectionKey, event: Box<str>, room: SubscribeTo, first: FirstRoom) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let name = connection.session.id;
    connection.pause_input();
    tokio::task::spawn_local(async move {
        let found = services.event_index.position_of(&*services.broker, &room.room, &event).await;
        doorway.enter(|core| {
            if !core.clients.connections.is(key, name) {
                return;
            }
            match found {
                Ok(since) => {
                    if since.is_none() {
                        services.metrics.recoveries.gone.increment(1);
                    }
                    enter_first(core, key, SubscribeTo { since, ..room }, first);
                }
                Err(error) => {
                    first_room::refuse(core, key, room.room, first, ErrorCode::Unavailable, error.to_string());
                }
            }
            core.clients.resume_input(key);
        });
    });
}

fn enter_first(core: &mut Core, key: ConnectionKey, room: SubscribeTo, first: FirstRoom) {
    let SubscribeTo { room, since, spelling } = room;
    let dialect = core.clients.connections.get(key).and_then(|connection| connection.dialect_of(first.id.as_ref()));
    let purpose = JoinPurpose::Begin(Box::new(first.clone()));
    let request = SubscribeRequest { since, spelling, dialect, purpose, ..SubscribeRequest::default() };
    match core.subscribe_to(key, &room, request) {
        Ok(SubscribeOutcome::Begun) => {}
        Ok(SubscribeOutcome::NeedsPermit(request)) => ask_hook(core, key, vec![(room, request)]),
        Err((code, message)) => first_room::refuse(core, key, room, first, code, message),
    }
}
