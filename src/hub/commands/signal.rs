//! The signals of a worker's connections: told to the broker, which has every pod tell the room's members.
//!
//! Never waits: one task a worker takes to the broker what waits in the outbox. Always holds: a signal comes from a member of its
//! room; what a connection shows in a room that it leaves is taken back.

use std::{rc::Rc, sync::Arc};

use futures_util::{StreamExt, stream};

use crate::{
    hub::{
        connection::key::ConnectionKey,
        core::{Core, Doorway},
        fanout::room_index::RoomIndex,
        worker::{clock::millis, services::Services},
    },
    model::{CommandId, ErrorCode, Payload, Reply, Room, Signal, SignalAct},
    session::{SentSignals, SignalVerdict},
};

/// How many of a worker's signals are on their way to the broker at once.
const AT_ONCE: usize = 256;

/// What a connection wants to let the other members of a room know.
pub(crate) struct SignalRequest {
    pub(crate) room: Room,
    pub(crate) topic: Box<str>,
    pub(crate) data: Option<Payload>,
    /// For how many milliseconds it is shown; 0 takes it back.
    pub(crate) ttl_ms: u32,
}

/// Sends a connection's signal, unless it comes too soon or ends nothing. Only a client that asks is answered.
pub(crate) fn signal(core: &mut Core, key: ConnectionKey, id: Option<&CommandId>, request: SignalRequest) {
    let SignalRequest { room, topic, data, ttl_ms } = request;
    let (now_ms, services) = (core.clients.timers.now_ms(), Arc::clone(core.services()));
    let index = core.rooms.find(&room);
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let is_member = connection.subscriptions.iter().any(|subscription| Some(subscription.room) == index);
    let local = index.filter(|_| is_member).and_then(|index| core.rooms.get(index));
    let Some(signals) = &mut connection.session.signals else { return };
    let has_user = connection.session.grant.user().is_some();
    let elsewhere_ms = local.filter(|_| has_user).map(|local| millis(local.policy.signal_every));
    let verdict = match local {
        _ if ttl_ms == 0 => signals.stop(&room, &topic, elsewhere_ms, now_ms),
        Some(local) => signals.show(&room, &topic, millis(local.policy.signal_every), ttl_ms, now_ms),
        None => {
            let message = format!("this connection is not in {room}: only members send signals");
            let error = Reply::Error { code: ErrorCode::NotSubscribed, message, room: Some(room) };
            return core.clients.reply(key, &error, id);
        }
    };
    match verdict {
        SignalVerdict::Send => {
            let act = if ttl_ms == 0 { SignalAct::Stop } else { SignalAct::Show(ttl_ms) };
            let sender = connection.session.member();
            put(core, &room, Signal { topic, sender, data, act });
        }
        SignalVerdict::Drop => services.metrics.signals.thinned.increment(1),
        SignalVerdict::TooMany => {
            let many = SentSignals::MAX;
            let message = format!("{many} signals of this connection are shown or were a moment ago: wait");
            let error = Reply::Error { code: ErrorCode::LimitExceeded, message, room: Some(room) };
            return core.clients.reply(key, &error, id);
        }
    }
    answer(core, key, id);
}

/// Answers a signal that was taken, whatever became of it, where the client asks for an answer.
pub(crate) fn answer(core: &mut Core, key: ConnectionKey, id: Option<&CommandId>) {
    if core.clients.connections.get(key).is_some_and(|connection| connection.asks_for_answer(id)) {
        core.clients.reply(key, &Reply::Done { expires_at: None }, id);
    }
}

/// Takes back what a connection shows in a room that it leaves.
pub(crate) fn end_signals(core: &mut Core, key: ConnectionKey, index: RoomIndex) {
    let now_ms = core.clients.timers.now_ms();
    let Some(room) = core.rooms.get(index).map(|local| local.name.clone()) else { return };
    let Some(session) = core.clients.connections.get_mut(key).map(|connection| &mut connection.session) else { return };
    let Some(signals) = &mut session.signals else { return };
    let topics = signals.leave(&room, now_ms);
    if topics.is_empty() {
        return;
    }
    let sender = session.member();
    for topic in topics {
        put(core, &room, Signal { topic, sender: sender.clone(), data: None, act: SignalAct::Leave });
    }
}

fn put(core: &mut Core, room: &Room, signal: Signal) {
    if !core.signals.push(room, signal) {
        core.services().metrics.signals.lost.increment(1);
    }
}

/// Takes a worker's signals to the broker, for as long as there is the worker.
pub(crate) async fn carry_signals(doorway: Doorway, services: Arc<Services>) {
    let Some(activity) = doorway.enter(|core| Rc::clone(&core.signals.activity)) else { return };
    loop {
        activity.notified().await;
        let Some(waiting) = doorway.enter(|core| core.signals.take()) else { return };
        let sent = stream::iter(waiting).map(async |(room, signal)| services.broker.signal(&room, signal).await);
        let signals = &services.metrics.signals;
        let mut sent = sent.buffer_unordered(AT_ONCE);
        while let Some(outcome) = sent.next().await {
            let counter = if outcome.is_ok() { &signals.sent } else { &signals.lost };
            counter.increment(1);
        }
    }
}
