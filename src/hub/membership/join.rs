//! How a connection becomes a member of a room that it has a place in.
//!
//! A connection becomes a member at a flush boundary: at once if it wants nothing older, else when the log has answered;
//! meanwhile live broadcasts are held for it. Always holds: `subscribed` at a position is followed by exactly what comes
//! after that position, once.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Instant};

use crate::{
    broker::{BrokerError, HistoryQuery},
    hub::{
        access::{first_room, permit::RefusalError},
        connection::{key::ConnectionKey, offer::OfferOutcome},
        core::{Core, clients::Clients},
        fanout::{
            admission::{Admission, FirstWords},
            broadcast::{Broadcast, Content},
            range::{Range, gap},
            room_index::RoomIndex,
            room_stream::RoomStream,
            subscription::Standing,
        },
        membership::{
            event::MembershipEvent,
            pending_join::{JoinAnswer, JoinPurpose, Parts, PendingJoin},
        },
        recovery::cache::Missed,
        worker::{clock::unix_millis, services::Services},
    },
    model::{
        CommandId, Disconnect, ErrorCode, Event, Offset, Policy, Position, PresenceMode, Reply, Retain, Retained, Room,
        Since,
    },
};

impl Core {
    /// Lets a connection into a room's stream, or has it wait for the log.
    pub(crate) fn join(&mut self, index: RoomIndex, join: PendingJoin) {
        self.step_stream(index, |stream, policy, effects| stream.join(join, policy, effects));
    }

    /// Reads what joins missed, and the retained values where that is not all they want.
    pub(crate) fn read_for_join(
        &self,
        index: RoomIndex,
        ticket: u64,
        since: Option<Since>,
        target: Position,
        parts: &Parts,
    ) {
        let Some(local) = self.rooms.get(index) else { return };
        let (room, policy) = (local.name.clone(), Arc::clone(&local.policy));
        let wanted = |(part, floor): &(RoomIndex, Offset)| Some((self.rooms.get(*part)?.name.clone(), *floor));
        let wanted: HashMap<Room, Offset> = parts.iter().filter_map(wanted).collect();
        let (services, doorway, turns) =
            (Arc::clone(&self.clients.services), self.doorway.clone(), Rc::clone(&self.recovery_turns));
        tokio::task::spawn_local(async move {
            let read = answer_join(&services, &room, &policy, since.as_ref(), &target, &wanted);
            // Held until the answer is queued.
            let (answer, _place) = turns.read(read).await;
            let join_read = |core: &mut Core| {
                let Some(index) = core.rooms.find(&room) else { return };
                core.step_stream(index, |stream, policy, effects| stream.join_read(ticket, answer, policy, effects));
            };
            turns.take(|| doorway.enter(join_read)).await;
        });
    }

    /// Makes a connection a member. One that left meanwhile does not become one.
    pub(crate) fn admit(&mut self, index: RoomIndex, admission: Admission) {
        let tells_gaps = self.clients.connections.tells_gaps(admission.join.key, &self.clients.encoder);
        let first_words = admission.first_words(tells_gaps);
        let Admission { join, position, recovered, before } = admission;
        let PendingJoin { key, purpose, snapshot, parts, .. } = join;
        let parts = if parts.is_empty() { [(index, 0)].into() } else { parts };
        let resumes = purpose == JoinPurpose::Resume;
        let snapshot = snapshot.filter(|_| !recovered && !before.iter().any(is_retained));
        // Where rooms share a log, the backend shows none of them anything.
        let snapshot = snapshot.zip(self.rooms.get(index));
        let snapshot = snapshot.map(|(events, local)| shown(&events, &local.name, &position, &local.policy));
        let first = match (first_words, &purpose) {
            (FirstWords::Subscribed, JoinPurpose::Begin(first)) => Some(first.clone()),
            _ => None,
        };
        match first_words {
            FirstWords::Subscribed => {
                if !self.say_subscribed_in(key, &parts, purpose, &position, recovered) {
                    return;
                }
            }
            FirstWords::Untold => return self.clients.request_close(key, Disconnect::Missed),
            FirstWords::Gap(after) => {
                let Position { epoch, offset } = position;
                let Some(room) = self.rooms.get(index).map(|local| local.name.clone()) else { return };
                let id = self.clients.connections.reply_id(key, index);
                self.clients.tell_in(key, index, &gap(&Range { room, epoch, after, offset }), id.as_ref());
            }
            FirstWords::Nothing => {}
        }
        let Some(overflow) = self.catch_up_with(key, &parts, snapshot.as_ref(), &before) else { return };
        for (part, _) in &parts {
            let Some(connection) = self.clients.connections.get_mut(key) else { return };
            let Some(at) = connection.subscriptions.iter().position(|s| s.room == *part) else { continue };
            let format = connection.format_of(&connection.subscriptions[at]);
            let Some(place) = self.rooms.change_members(*part, |local| local.members.add(key, format)) else {
                continue;
            };
            connection.subscriptions[at].standing = Standing::Member(place);
        }
        // What was missed of a shared log is bounded. A client that does not read it overflows by what follows.
        if overflow && !self.rooms[index].stream().is_some_and(RoomStream::is_shared) {
            self.overflow(index, key);
        }
        for (part, _) in parts.iter().filter(|_| resumes) {
            self.clients.membership_event(key, MembershipEvent::Recovered { room: *part, complete: recovered });
        }
        if let Some(first) = first {
            self.subscribe(key, first.rest, first.id.as_ref());
        }
    }

    /// Says to a connection that it is in rooms. `false`: there is no place for one of them, and it comes into none.
    fn say_subscribed_in(
        &mut self,
        key: ConnectionKey,
        parts: &Parts,
        purpose: JoinPurpose,
        position: &Position,
        recovered: bool,
    ) -> bool {
        for (part, floor) in parts {
            let position = Position::new(position.epoch.clone(), position.offset.max(*floor));
            if let Err((code, message)) = self.begin_room(key, *part) {
                self.refuse_join(key, *part, purpose, code, message);
                return false;
            }
            self.clients.membership_event(key, MembershipEvent::Joined { room: *part, position: position.clone() });
            let asked = match &purpose {
                JoinPurpose::Subscribe(id) => Some(id.clone()),
                JoinPurpose::Begin(first) => {
                    if first.greets {
                        self.clients.greet(key, &first.request, recovered);
                    }
                    Some(first.id.clone())
                }
                JoinPurpose::Resume | JoinPurpose::CatchUp => None,
            };
            self.say_subscribed(key, *part, asked, position, recovered);
        }
        true
    }

    /// Sends a joiner what it gets ahead of the live stream; whether it owes too much then. `None`: it is gone, or goes.
    fn catch_up_with(
        &mut self,
        key: ConnectionKey,
        parts: &Parts,
        snapshot: Option<&Arc<Broadcast>>,
        before: &[Arc<Broadcast>],
    ) -> Option<bool> {
        let Self { clients, rooms, .. } = self;
        let Clients { connections, encoder, buffers, services, settings, .. } = clients;
        let mut overflow = false;
        // Then what is retained is nothing, which need not be said.
        let nothing =
            |broadcast: &&Arc<Broadcast>| snapshot.is_some() && matches!(broadcast.content, Content::Retained(_));
        for broadcast in snapshot.into_iter().chain(before.iter().filter(|broadcast| !nothing(broadcast))) {
            let is_for = |(part, _): &&(RoomIndex, Offset)| {
                rooms.get(*part).is_some_and(|local| local.name == *broadcast.room())
            };
            // Of a shared log much is for others.
            let Some(&(part, floor)) = parts.iter().find(is_for) else { continue };
            if broadcast.range().is_some_and(|range| range.offset <= floor) {
                continue;
            }
            let connection = connections.get_mut(key)?;
            let Some(subscription) = connection.subscriptions.iter().find(|s| s.room == part) else { continue };
            let format = connection.format_of(subscription);
            let mut frame = encoder.frame(broadcast, format);
            if !connection.takes(&frame, part) {
                frame = encoder.independent(broadcast, format);
            }
            if frame.bytes().is_empty() {
                if matches!(broadcast.content, Content::Gap(_)) {
                    clients.request_close(key, Disconnect::Missed);
                    return None;
                }
                continue;
            }
            let (sealed, limit) = (&mut buffers.sealed, settings.queue_limit);
            overflow |= connection.offer(&frame, part, sealed, limit, &services.budget) == OfferOutcome::Overflow;
            services.metrics.deliveries.increment(broadcast.events() as u64);
        }
        Some(overflow)
    }

    /// Says to a connection that it is in a room, if it asked to be, and to the room that it came.
    fn say_subscribed(
        &mut self,
        key: ConnectionKey,
        index: RoomIndex,
        asked: Option<Option<CommandId>>,
        position: Position,
        recovered: bool,
    ) {
        let Some(local) = self.rooms.get(index) else { return };
        let (room, presence) = (local.name.clone(), local.policy.presence);
        // First, so that a client that is told and asks at once finds itself there.
        if presence != PresenceMode::Off
            && let Some(connection) = self.clients.connections.get(key)
            && connection.transport.attends()
        {
            self.clients.services.presence.join(&room, &connection.session.member());
        }
        if let Some(id) = asked {
            let id = id.or_else(|| self.clients.connections.reply_id(key, index));
            let reply = Reply::Subscribed { room, position, recovered };
            self.clients.tell_in(key, index, &reply, id.as_ref());
        }
    }

    /// Makes a connection ready for a room.
    fn begin_room(&mut self, key: ConnectionKey, index: RoomIndex) -> Result<(), RefusalError> {
        let priority = self.rooms.get(index).map(|local| local.policy.priority);
        let Some((connection, priority)) = self.clients.connections.get_mut(key).zip(priority) else { return Ok(()) };
        if connection.begin_room(index, priority) {
            return Ok(());
        }
        let why = "the client's QUIC transport allows no stream of the server (initial_max_streams_uni)";
        Err((ErrorCode::LimitExceeded, why.to_owned()))
    }

    /// A connection does not come into a room after all.
    pub(crate) fn refuse_join(
        &mut self,
        key: ConnectionKey,
        index: RoomIndex,
        purpose: JoinPurpose,
        code: ErrorCode,
        message: String,
    ) {
        if let Some(connection) = self.clients.connections.get_mut(key) {
            connection.subscriptions.retain(|subscription| subscription.room != index);
        }
        let Some(room) = self.rooms.get(index).map(|local| local.name.clone()) else { return };
        match purpose {
            JoinPurpose::Subscribe(id) => {
                self.clients.reply(key, &Reply::Error { code, message, room: Some(room) }, id.as_ref())
            }
            JoinPurpose::Begin(first) => first_room::refuse(self, key, room, *first, code, message),
            JoinPurpose::Resume | JoinPurpose::CatchUp => {}
        }
        self.clients.membership_event(key, MembershipEvent::Refused { resumes: None });
        self.note_if_empty(index);
    }

    /// The broker could not say what a join missed.
    pub(crate) fn turn_away(&mut self, index: RoomIndex, join: PendingJoin, error: &BrokerError) {
        let key = join.key;
        match (join.purpose, join.since) {
            (purpose @ (JoinPurpose::Subscribe(_) | JoinPurpose::Begin(_)), _) => {
                let index = join.parts.first().map_or(index, |(part, _)| *part);
                self.refuse_join(key, index, purpose, ErrorCode::Unavailable, format!("{error}; subscribe again"));
            }
            (JoinPurpose::CatchUp, Some(since)) => {
                let Some(position) = self.rooms.position_of(index).cloned() else { return };
                let (parts, snapshot) = (Parts::new(), None);
                let join = PendingJoin { key, since: Some(since), purpose: JoinPurpose::CatchUp, snapshot, parts };
                self.admit(index, Admission { join, position, recovered: false, before: Arc::new([]) });
            }
            (JoinPurpose::Resume, _) => {
                let own = if join.parts.is_empty() { [(index, 0)].into() } else { join.parts };
                for (room, _) in own {
                    self.clients.membership_event(key, MembershipEvent::Recovered { room, complete: false });
                }
            }
            (JoinPurpose::CatchUp, None) => {}
        }
    }
}

/// What the log says to joins that stopped at `since`, where the stream stands at `target`. `wanted`: in a shared log, the rooms
/// that are joined, each with the offset up to which the client was not in it.
async fn answer_join(
    services: &Services,
    room: &Room,
    policy: &Arc<Policy>,
    since: Option<&Since>,
    target: &Position,
    wanted: &HashMap<Room, Offset>,
) -> Result<JoinAnswer, BrokerError> {
    let (broker, recoveries) = (&*services.broker, &services.recoveries);
    if let Some(since) = since {
        if JoinAnswer::may_be_early(since, target) {
            let query = HistoryQuery { since: Some(since.clone()), until: None, max_events: 1, max_bytes: 1 };
            if let early @ JoinAnswer::Early = JoinAnswer::if_early(since, &broker.history(room, query).await?) {
                return Ok(early);
            }
        } else {
            let missed = if wanted.is_empty() {
                recoveries.missed(broker, policy, room, since, target).await?
            } else {
                recoveries.missed_of_parts(broker, policy, room, since, target, wanted).await?
            };
            if let Missed::All(broadcasts) = missed {
                return Ok(JoinAnswer::Missed(broadcasts));
            }
        }
    }
    if policy.retain == Retain::None {
        return Ok(JoinAnswer::Fresh(None));
    }
    let content = Content::Retained(broker.retained(room).await?);
    Ok(JoinAnswer::Fresh(Some(Arc::new(Broadcast::new(content, Arc::clone(policy), Instant::now())))))
}

fn is_retained(broadcast: &Arc<Broadcast>) -> bool {
    matches!(&broadcast.content, Content::Retained(retained) if !retained.events.is_empty())
}

/// What the backend shows a new member of a room instead of retained values, as of where the room stands.
fn shown(events: &[Event], room: &Room, position: &Position, policy: &Arc<Policy>) -> Arc<Broadcast> {
    let now = unix_millis();
    let events = events.iter().map(|event| {
        let time = if event.time == 0 { now } else { event.time };
        Arc::new(Event { offset: position.offset, time, ..event.clone() })
    });
    let Position { epoch, offset } = position.clone();
    let retained = Retained { room: room.clone(), epoch, offset, events: events.collect() };
    Arc::new(Broadcast::new(Content::Retained(retained), Arc::clone(policy), Instant::now()))
}
