//! What a client asks for: taken to its session, done, answered.
//!
//! Never waits: what the broker must be asked for is answered by a task of its own. Always holds: an answer reaches the connection that
//! asked, or none.

use std::{collections::HashSet, future::Future, ops::ControlFlow, sync::Arc};

use crate::{
    hub::{
        access::{hook_gate::may_read_about, identity::authenticate},
        commands::{
            ack::{AckOutcome, ReadUpTo, ack, decided_by_backend, delivered},
            call::call,
            delete::{EventAt, delete},
            past_events::PastEvents,
            publish::publish,
            signal::{SignalRequest, answer, signal},
            status::status,
        },
        connection::key::ConnectionKey,
        core::Core,
    },
    metrics::ClientMessage,
    model::{CommandId, Disconnect, Reply, Room},
    protocol::Message,
    session::Action,
};

/// Takes a message to the session, and does what that asks for.
pub(crate) fn message(core: &mut Core, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
    let now_ms = core.clients.timers.now_ms();
    let services = Arc::clone(core.services());
    let Some(connection) = core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
    connection.totals.messages_in = connection.totals.messages_in.wrapping_add(1);
    services.metrics.messages_in.increment(1);
    let dialect = services.dialects.get(connection.format.dialect);
    let policy = |room: &Room| services.policy(room);
    let limits = &core.clients.settings.limits;
    let (id, action) = connection.session.receive(message, dialect, policy, limits, now_ms);
    if let Some(observer) = &services.metrics.observer {
        observer.message_received(match &action {
            Action::Reply(Reply::Pong) => ClientMessage::Ping,
            Action::Subscribe(_) => ClientMessage::Subscribe,
            Action::Unsubscribe(_) => ClientMessage::Unsubscribe,
            _ => ClientMessage::Other,
        });
    }
    if let Action::Close(disconnect) = action {
        return stop(core, key, disconnect);
    }
    act(core, key, id, action);
    ControlFlow::Continue(())
}

/// Has a connection closed, and nothing more taken from it.
pub(crate) fn stop(core: &mut Core, key: ConnectionKey, disconnect: Disconnect) -> ControlFlow<()> {
    core.clients.request_close(key, disconnect);
    ControlFlow::Break(())
}

/// Does what a session asks for.
pub(crate) fn act(core: &mut Core, key: ConnectionKey, id: Option<CommandId>, action: Action) {
    match action {
        Action::Nothing | Action::Close(_) => {}
        Action::Reply(reply) => core.clients.reply(key, &reply, id.as_ref()),
        Action::Authenticate(token) => authenticate(core, key, token, id),
        Action::Stats => core.clients.tell_stats(key, id.as_ref()),
        Action::Subscribe(rooms) => core.subscribe(key, rooms, id.as_ref()),
        Action::Unsubscribe(room) => core.unsubscribe(key, room, id.as_ref()),
        Action::Publish(room, publication) => publish(core, key, id, room, publication),
        Action::Signal { room, topic, data, ttl_ms } => {
            signal(core, key, id.as_ref(), SignalRequest { room, topic, data, ttl_ms });
        }
        Action::Status(change) => status(core, key, id, change),
        Action::Delete { room, epoch, offset } => delete(core, key, id, EventAt { room, epoch, offset }),
        Action::Call(request) => call(core, key, id, request),
        Action::DropSignal => {
            core.services().metrics.signals.limited.increment(1);
            answer(core, key, id.as_ref());
        }
        Action::Presence(room) | Action::History { room, .. } if !may_read_about(core, key, &room) => {
            core.clients.reply(key, &decided_by_backend(room), id.as_ref());
        }
        Action::Ack { room, epoch, offset } => match ack(core, key, ReadUpTo { room, epoch, offset }) {
            None => {}
            Some(AckOutcome::Now(reply)) => core.clients.reply(key, &reply, id.as_ref()),
            Some(AckOutcome::Asked(ack)) => {
                let services = Arc::clone(core.services());
                answer_later(core, key, id, async move { services.judged(ack).await });
            }
        },
        Action::Delivered { room, epoch, offset } => {
            if let Some(reply) = delivered(core, key, ReadUpTo { room, epoch, offset }) {
                core.clients.reply(key, &reply, id.as_ref());
            }
        }
        Action::Unread(rooms) => unread(core, key, id, rooms),
        Action::Presence(room) => {
            let services = Arc::clone(core.services());
            answer_later(core, key, id, async move { services.client_presence(room).await });
        }
        Action::History { room, since, before, limit } => {
            let services = Arc::clone(core.services());
            answer_later(core, key, id, async move { PastEvents(&services).read(room, since, before, limit).await });
        }
    }
}

/// Answers how much a connection's user has not read. What the connection sends behind it waits: a question may be about many rooms, so
/// that one at a time is under way.
fn unread(core: &mut Core, key: ConnectionKey, id: Option<CommandId>, rooms: Vec<Room>) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let (name, grant) = (connection.session.id, connection.session.grant.clone());
    let rooms_in = connection.subscriptions.iter().map(|subscription| &core.rooms[subscription.room]);
    let decided = rooms_in.filter(|room| room.policy.subscribe_hook);
    let decided: HashSet<Room> = decided.map(|room| room.name.clone()).collect();
    connection.pause_input();
    tokio::task::spawn_local(async move {
        let reply = services.client_unread(&grant, rooms, |room| decided.contains(room)).await;
        doorway.enter(|core| {
            core.clients.reply_to(key, name, &reply, id.as_ref());
            if core.clients.connections.is(key, name) {
                core.clients.resume_input(key);
            }
        });
    });
}

/// Answers when the broker has.
fn answer_later(core: &Core, key: ConnectionKey, id: Option<CommandId>, answer: impl Future<Output = Reply> + 'static) {
    let Some(connection) = core.clients.connections.get(key) else { return };
    let (doorway, name) = (core.doorway.clone(), connection.session.id);
    tokio::task::spawn_local(async move {
        let reply = answer.await;
        doorway.enter(|core| core.clients.reply_to(key, name, &reply, id.as_ref()));
    });
}
