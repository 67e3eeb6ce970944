//! How a connection becomes a member of a room that it has a place in.
//!
//! A connection becomes a member at a flush boundary: at once if it wants nothing older, else when the log has answered;
//! meanwhile live broadcasts are held for it. Always holds: `subscribed` at a position is followed by exactly what comes
//! after that position, once.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{
    broker::{BrokerError, HistoryQuery},
    hub::{
        Broadcast, ConnectionKey, Content, RoomIndex, Worker,
        access::opening::First,
        fanout::{
            broadcast::{Range, gap},
            room::{Arrival, Parts, Pending, Purpose},
            subscription::Standing,
        },
        recovery::cache::Missed,
        worker::clock::unix_millis,
    },
    model::{
        CommandId, Disconnect, ErrorCode, Event, Offset, Policy, Position, PresenceMode, Reply, Retain, Retained, Room,
        Since,
    },
};

/// What the log said to those who wait.
struct Answer {
    missed: Option<Missed>,
    /// The client stands beyond this worker's last flush: it waits for the flush.
    ahead: bool,
    retained: Option<Arc<Broadcast>>,
}

impl Worker {
    /// The owner has answered.
    pub fn joined(&mut self, room: &Room, position: Position) {
        let Some(number) = self.rooms.find(room) else { return };
        let local = &mut self.rooms[number];
        if local.position.is_none() {
            local.position = Some(position);
        }
        for arrival in std::mem::take(&mut local.arrivals) {
            self.arrive(number, arrival);
        }
    }

    /// Lets an arrival in, or has it wait for the log.
    pub(crate) fn arrive(&mut self, number: RoomIndex, arrival: Arrival) {
        let local = &mut self.rooms[number];
        let Some(position) = local.position.clone() else {
            local.arrivals.push(arrival);
            return;
        };
        match &arrival.since {
            Some(since) if since.epoch == position.epoch && since.offset == position.offset => {
                self.admit(number, arrival, position, true, &[]);
            }
            None if local.policy.retain == Retain::None => self.admit(number, arrival, position, false, &[]),
            _ => {
                let since = arrival.since.clone();
                let shared = |pending: &&mut Pending| pending.since == since && arrival.parts.is_empty();
                if let Some(pending) = local.pending.iter_mut().find(shared) {
                    pending.waiting.push(arrival);
                    return;
                }
                local.asked += 1;
                let (ticket, target, held) = (local.asked, position.clone(), Vec::new());
                let parts = arrival.parts.clone();
                let waiting = vec![arrival];
                local.pending.push(Pending { ticket, since: since.clone(), target, waiting, held, lost: false });
                self.ask_log(number, ticket, since, position, &parts);
            }
        }
    }

    fn ask_log(&self, number: RoomIndex, ticket: u64, since: Option<Since>, target: Position, parts: &Parts) {
        let services = Arc::clone(&self.services);
        let local = &self.rooms[number];
        let (room, policy) = (local.name.clone(), Arc::clone(&local.policy));
        let wanted = |(part, floor): &(RoomIndex, Offset)| Some((self.rooms.get(*part)?.name.clone(), *floor));
        let wanted: HashMap<Room, Offset> = parts.iter().filter_map(wanted).collect();
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let read = async {
                let mut answer = Answer { missed: None, ahead: false, retained: None };
                if let Some(since) = &since {
                    if since.epoch == target.epoch && since.offset > target.offset {
                        let query =
                            HistoryQuery { since: Some(since.clone()), until: None, max_events: 1, max_bytes: 1 };
                        let history = services.broker.history(&room, query).await?;
                        answer.ahead = history.epoch == since.epoch && history.end >= since.offset;
                        answer.missed = Some(Missed::Gone);
                    } else {
                        let recoveries = &services.recoveries;
                        let broker = &*services.broker;
                        let missed = if wanted.is_empty() {
                            recoveries.missed(broker, &policy, &room, since, &target).await?
                        } else {
                            recoveries.missed_of_parts(broker, &policy, &room, since, &target, &wanted).await?
                        };
                        answer.missed = Some(missed);
                    }
                }
                if policy.retain != Retain::None && !answer.ahead && !matches!(answer.missed, Some(Missed::All(_))) {
                    let retained: Retained = services.broker.retained(&room).await?;
                    let content = Content::Retained(retained);
                    answer.retained = Some(Arc::new(Broadcast::new(content, Arc::clone(&policy), Instant::now())));
                }
                Ok::<_, BrokerError>(answer)
            };
            let answer = read.await;
            if let Some(worker) = me.upgrade() {
                worker.borrow_mut().log_answered(&room, ticket, answer);
            }
        });
    }

    fn log_answered(&mut self, room: &Room, ticket: u64, answer: Result<Answer, BrokerError>) {
        let Some(number) = self.rooms.find(room) else { return };
        let local = &mut self.rooms[number];
        let Some(at) = local.pending.iter().position(|p| p.ticket == ticket) else { return };
        let Pending { since, target, waiting, held, lost, .. } = local.pending.swap_remove(at);
        let Some(position) = local.position.clone() else { return };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                for arrival in waiting {
                    self.turn_away(number, arrival, &error);
                }
                return;
            }
        };
        if answer.ahead {
            for arrival in waiting {
                let since = since.as_ref().map_or(0, |s| s.offset);
                // The flush may have come while the log was read.
                if position.offset >= since {
                    self.arrive(number, arrival);
                } else {
                    self.rooms[number].ahead.push(arrival);
                }
            }
            return;
        }
        let services = Arc::clone(&self.services);
        let outcome = &services.metrics.recoveries;
        match (answer.missed, &since) {
            (Some(Missed::All(mut broadcasts)), Some(since)) if !lost => {
                outcome.recovered.increment(waiting.len() as u64);
                broadcasts.extend(held);
                let from = Position::new(target.epoch, since.offset);
                for arrival in waiting {
                    self.admit(number, arrival, from.clone(), true, &broadcasts);
                }
            }
            (missed, _) => {
                if missed.is_some() {
                    outcome.gone.increment(waiting.len() as u64);
                }
                if lost {
                    // More was begun meanwhile than is held: what was read is too old to continue from.
                    for arrival in waiting {
                        match arrival.purpose {
                            Purpose::Subscribe(_) | Purpose::Begin(_) | Purpose::Resume => {
                                self.arrive(number, Arrival { since: None, ..arrival });
                            }
                            Purpose::CatchUp => self.admit(number, arrival, position.clone(), false, &[]),
                        }
                    }
                    return;
                }
                // The retained values were read after `target`: what was begun since follows them, so that none stays stale.
                let before: Vec<_> = answer.retained.into_iter().chain(held).collect();
                for arrival in waiting {
                    self.admit(number, arrival, target.clone(), false, &before);
                }
            }
        }
    }

    /// Makes an arrival a member. `before`: what it gets ahead of the live stream.
    fn admit(
        &mut self,
        number: RoomIndex,
        arrival: Arrival,
        position: Position,
        recovered: bool,
        before: &[Arc<Broadcast>],
    ) {
        let key = arrival.key;
        let parts = if arrival.parts.is_empty() { [(number, 0)].into() } else { arrival.parts };
        let resumes = arrival.purpose == Purpose::Resume;
        let is_retained = |broadcast: &Arc<Broadcast>| matches!(&broadcast.content, Content::Retained(retained) if !retained.events.is_empty());
        let snapshot = arrival.snapshot.filter(|_| !recovered && !before.iter().any(is_retained));
        // Where rooms share a log, the backend shows none of them anything.
        let snapshot = snapshot.zip(self.rooms.get(number));
        let snapshot = snapshot.map(|(events, local)| shown(&events, &local.name, &position, &local.policy));
        let mut rest = None;
        match (arrival.purpose, arrival.since) {
            (purpose @ (Purpose::Subscribe(_) | Purpose::Begin(_) | Purpose::Resume), _) => {
                let id = match purpose {
                    Purpose::Subscribe(id) => Some(id),
                    Purpose::Begin(first) => Some(rest.insert(*first).id.clone()),
                    Purpose::Resume | Purpose::CatchUp => None,
                };
                for (part, floor) in &parts {
                    let position = Position::new(position.epoch.clone(), position.offset.max(*floor));
                    if let Err((code, message)) = self.begin_room(key, *part) {
                        let purpose = match (rest.take(), id) {
                            (Some(first), _) => Purpose::Begin(Box::new(first)),
                            (None, Some(id)) => Purpose::Subscribe(id),
                            (None, None) => Purpose::Resume,
                        };
                        self.not_entered(key, *part, purpose, code, message);
                        return;
                    }
                    self.note_joined(key, *part, &position);
                    if let Some(first) = &rest {
                        self.entered_first(key, first, recovered);
                    }
                    self.say_entered(key, *part, id.clone(), position, recovered);
                }
            }
            (Purpose::CatchUp, Some(_)) if !recovered && !self.tells_gaps(key) => {
                self.close(key, Disconnect::Missed);
                return;
            }
            (Purpose::CatchUp, Some(since)) if !recovered => {
                let Position { epoch, offset } = position;
                let Some(room) = self.rooms.get(number).map(|local| local.name.clone()) else { return };
                let id = self.namespace_id(key, number);
                self.tell_in(key, number, &gap(&Range { room, epoch, after: since.offset, offset }), id.as_ref());
            }
            (Purpose::CatchUp, _) => {}
        }
        let mut overflow = false;
        // Then what is retained is nothing, which need not be said.
        let nothing =
            |broadcast: &&Arc<Broadcast>| snapshot.is_some() && matches!(broadcast.content, Content::Retained(_));
        for broadcast in snapshot.iter().chain(before.iter().filter(|broadcast| !nothing(broadcast))) {
            let part = parts
                .iter()
                .find(|(part, _)| self.rooms.get(*part).is_some_and(|local| local.name == *broadcast.room()));
            // Of a shared log much is for others.
            let Some((part, floor)) = part.copied() else { continue };
            if broadcast.range().is_some_and(|range| range.offset <= floor) {
                continue;
            }
            let Some(connection) = self.connections.get(key) else { return };
            let Some(subscription) = connection.subscriptions.iter().find(|s| s.room == part) else { continue };
            let format = connection.format_of(subscription);
            let frame = broadcast.frame(format, &mut self.encoder);
            if frame.bytes().is_empty() {
                if matches!(broadcast.content, Content::Gap(_)) {
                    self.close(key, Disconnect::Missed);
                    return;
                }
                continue;
            }
            let Some(connection) = self.connections.get_mut(key) else { return };
            let sealed = &mut self.buffers.sealed;
            let offer = connection.offer(&frame, part, sealed, self.owed_limit, &self.services.budget);
            overflow |= offer == crate::hub::connection::Offer::Overflow;
            self.services.metrics.deliveries.increment(broadcast.events() as u64);
        }
        for (part, _) in &parts {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let Some(at) = connection.subscriptions.iter().position(|s| s.room == *part) else { continue };
            let format = connection.format_of(&connection.subscriptions[at]);
            let place = self.rooms[*part].members.add(key, format);
            connection.subscriptions[at].standing = Standing::Member(place);
        }
        // What was missed of a shared log is bounded; whoever does not read it is seen by what follows.
        if overflow && self.rooms[number].parts == 0 {
            self.overflow(number, key);
        }
        for (part, _) in parts.iter().filter(|_| resumes) {
            self.resumed(key, *part, recovered);
        }
        if let Some(First { rest, id, .. }) = rest {
            self.subscribe(key, rest, id.as_ref());
        }
    }

    /// Says to a connection that it is in a room, if it asked to be, and to the room that it came.
    fn say_entered(
        &mut self,
        key: ConnectionKey,
        number: RoomIndex,
        asked: Option<Option<CommandId>>,
        position: Position,
        recovered: bool,
    ) {
        let Some(local) = self.rooms.get(number) else { return };
        let (room, presence) = (local.name.clone(), local.policy.presence);
        // First, so that who is told and asks at once finds itself there.
        if presence != PresenceMode::Off
            && let Some(connection) = self.connections.get(key)
            && connection.carrier.attends()
        {
            self.services.presence.join(&room, &connection.session.member());
        }
        if let Some(id) = asked {
            let id = id.or_else(|| self.namespace_id(key, number));
            let reply = Reply::Subscribed { room, position, recovered };
            self.tell_in(key, number, &reply, id.as_ref());
        }
    }

    /// Makes a connection ready for a room.
    fn begin_room(&mut self, key: ConnectionKey, number: RoomIndex) -> Result<(), (ErrorCode, String)> {
        let priority = self.rooms.get(number).map(|local| local.policy.priority);
        let Some((connection, priority)) = self.connections.get_mut(key).zip(priority) else { return Ok(()) };
        if connection.begin_room(number, priority) {
            return Ok(());
        }
        let why = "the client's QUIC transport allows no stream of the server (initial_max_streams_uni)";
        Err((ErrorCode::LimitExceeded, why.to_owned()))
    }

    /// Somebody does not come into a room after all.
    pub(crate) fn not_entered(
        &mut self,
        key: ConnectionKey,
        number: RoomIndex,
        purpose: Purpose,
        code: ErrorCode,
        message: String,
    ) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.subscriptions.retain(|subscription| subscription.room != number);
        }
        let Some(room) = self.rooms.get(number).map(|local| local.name.clone()) else { return };
        match purpose {
            Purpose::Subscribe(id) => self.reply(key, &Reply::Error { code, message, room: Some(room) }, id.as_ref()),
            Purpose::Begin(first) => self.first_refused(key, room, *first, code, message),
            Purpose::Resume | Purpose::CatchUp => {}
        }
        self.keep_all(key);
        self.note_if_empty(number);
    }

    /// The broker could not say what an arrival missed.
    fn turn_away(&mut self, number: RoomIndex, arrival: Arrival, error: &BrokerError) {
        let key = arrival.key;
        match (arrival.purpose, arrival.since) {
            (purpose @ (Purpose::Subscribe(_) | Purpose::Begin(_)), _) => {
                let number = arrival.parts.first().map_or(number, |(part, _)| *part);
                self.not_entered(key, number, purpose, ErrorCode::Unavailable, format!("{error}; subscribe again"));
            }
            (Purpose::CatchUp, Some(since)) => {
                let Some(position) = self.rooms[number].position.clone() else { return };
                let (parts, snapshot) = (Parts::new(), None);
                let range = Arrival { key, since: Some(since), purpose: Purpose::CatchUp, snapshot, parts };
                self.admit(number, range, position, false, &[]);
            }
            (Purpose::Resume, _) if arrival.parts.is_empty() => self.resumed(key, number, false),
            (Purpose::Resume, _) => arrival.parts.iter().for_each(|(part, _)| self.resumed(key, *part, false)),
            (Purpose::CatchUp, None) => {}
        }
    }
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
