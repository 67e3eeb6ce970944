//! The rooms that this pod is subscribed to, and the last position that came of each.
//!
//! Turns the messages of channels into deliveries. Never waits, never talks to Redis: it lists the positions that it needs, and
//! `positions` reads them. A room's life here:
//!
//! ```text
//!   subscribe            confirmed            position read
//!  ──────────▶ Waiting ───────────▶ Waiting ───────────────▶ Live ──┐ confirmed again, subscribed again, or behind the
//!     ▲                 asks         keeps what comes         ▲     │ log: asks; the answer is `Started`
//!     │ in time                                               └─────┘
//!   Left ◀────────────────────────── unsubscribe ──────────────────
//!     └──▶ forgotten after `LINGER`, and only then unsubscribed
//! ```
//!
//! Always holds: the position that begins a room is read after its subscription was confirmed, so that every event
//! after it either comes or is seen to be missing; nothing is delivered once `unsubscribe` has returned; no event is
//! delivered twice, and none before an earlier one of its epoch.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    entry::ChannelMessage,
    partition::{PARTITIONS, Partition},
};
use crate::{
    broker::{Deliver, Delivery},
    model::{Epoch, Event, Position, Publication, Room},
};

/// How long a subscription outlives its last member.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// The most events that wait for a room's position. Full: the newest are dropped, and the position is read again, which
/// shows that they are missing.
const MAX_AHEAD: usize = 1_024;

#[derive(Debug)]
enum RoomPhase {
    /// Its position is not read yet.
    Waiting { ahead: VecDeque<(Epoch, Arc<Event>)>, lost: bool },
    /// The position of the last event that came.
    Live(Position),
    /// It was unsubscribed then.
    Left(Instant),
}

impl RoomPhase {
    const WAITING: Self = Self::Waiting { ahead: VecDeque::new(), lost: false };
}

#[derive(Debug)]
struct SubscribedRoom {
    room: Room,
    state: RoomPhase,
    /// Whether the subscription stands, as far as is known.
    confirmed: bool,
    /// The ticket of the newest request for its position. Answers to older ones are ignored.
    ticket: u64,
}

/// A room whose position should be read, and the ticket of the request.
pub(super) type WantedPosition = (Room, u64);

/// The subscribed rooms.
pub(super) struct SubscribedRooms {
    parts: Box<[Mutex<HashMap<Room, SubscribedRoom>>]>,
    deliver: Arc<dyn Deliver>,
    wanted: Mutex<Vec<WantedPosition>>,
    /// Notified of new wanted positions.
    pub(super) asked: Notify,
}

impl SubscribedRooms {
    pub(super) fn new(deliver: Arc<dyn Deliver>) -> Self {
        Self {
            parts: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            deliver,
            wanted: Mutex::default(),
            asked: Notify::new(),
        }
    }

    fn part(&self, partition: Partition) -> MutexGuard<'_, HashMap<Room, SubscribedRoom>> {
        // There is one for each partition.
        self.parts[partition.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, active: &mut SubscribedRoom) {
        active.ticket += 1;
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push((active.room.clone(), active.ticket));
        self.asked.notify_one();
    }

    /// Asks again for positions that could not be read.
    pub(super) fn ask_again(&self, wanted: Vec<WantedPosition>) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted);
        self.asked.notify_one();
    }

    /// The positions to read now; those that are no longer wanted are left out.
    pub(super) fn wanted(&self) -> Vec<WantedPosition> {
        let wanted = std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        let current = |(room, ticket): &WantedPosition| {
            self.part(Partition::of(room)).get(room).is_some_and(|active| active.ticket == *ticket)
        };
        wanted.into_iter().filter(current).collect()
    }

    /// Begins a room, or begins it again. `true`: its channel must be subscribed to.
    pub(super) fn subscribe(&self, room: &Room) -> bool {
        let mut part = self.part(Partition::of(room));
        let Some(active) = part.get_mut(room) else {
            let active = SubscribedRoom { room: room.clone(), state: RoomPhase::WAITING, confirmed: false, ticket: 0 };
            part.insert(room.clone(), active);
            return true;
        };
        if matches!(active.state, RoomPhase::Left(_)) {
            active.state = RoomPhase::WAITING;
        }
        if active.confirmed {
            self.ask(active);
        }
        false
    }

    /// Ends the deliveries of a room. Its subscription lingers.
    pub(super) fn unsubscribe(&self, room: &Room) {
        if let Some(active) = self.part(Partition::of(room)).get_mut(room) {
            active.state = RoomPhase::Left(Instant::now());
            active.ticket += 1;
        }
    }

    /// Forgets rooms that were left long ago. `unsubscribe` is called for each, under the lock that a new subscription
    /// takes too.
    pub(super) fn forget(&self, partition: Partition, now: Instant, unsubscribe: impl Fn(&Room)) {
        self.part(partition).retain(|room, active| {
            let gone = matches!(active.state, RoomPhase::Left(since) if now.duration_since(since) >= LINGER);
            if gone {
                unsubscribe(room);
            }
            !gone
        });
    }

    /// Every room whose channel should be subscribed to.
    pub(super) fn all(&self) -> Vec<Room> {
        Partition::all().flat_map(|partition| self.part(partition).keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// The rooms of a partition whose events are delivered.
    pub(super) fn live(&self, partition: Partition) -> Vec<Room> {
        let part = self.part(partition);
        part.values()
            .filter(|active| matches!(active.state, RoomPhase::Live(_)))
            .map(|active| active.room.clone())
            .collect()
    }

    /// The room's subscription stands, for the first time or again.
    pub(super) fn confirmed(&self, name: &str) {
        if let Some(active) = self.part(Partition::of_name(name)).get_mut(name) {
            active.confirmed = true;
            if !matches!(active.state, RoomPhase::Left(_)) {
                self.ask(active);
            }
        }
    }

    /// A message came on the room's channel.
    pub(super) fn message(&self, name: &str, message: ChannelMessage) {
        let mut part = self.part(Partition::of_name(name));
        let Some(active) = part.get_mut(name) else { return };
        match (&mut active.state, message) {
            (RoomPhase::Waiting { ahead, lost }, ChannelMessage::Event(epoch, event)) => {
                if ahead.len() < MAX_AHEAD {
                    ahead.push_back((epoch, Arc::new(event)));
                } else {
                    *lost = true;
                }
            }
            (RoomPhase::Live(last), ChannelMessage::Event(epoch, event)) => {
                self.pass(&active.room, last, epoch, Arc::new(event));
            }
            (RoomPhase::Live(_), ChannelMessage::Unlogged(publication, except)) => {
                let (publication, except) = (Box::new(publication), Some(except));
                self.deliver.deliver(&active.room, Delivery::Unlogged { publication, except });
            }
            (RoomPhase::Live(_), ChannelMessage::Signal(signal)) => {
                self.deliver.deliver(&active.room, Delivery::Signal(signal));
            }
            (RoomPhase::Live(_), ChannelMessage::Notice(notice)) => {
                self.deliver.deliver(&active.room, Delivery::Notice(notice));
            }
            (RoomPhase::Live(_), ChannelMessage::Joined(member)) => {
                self.deliver.deliver(&active.room, Delivery::Joined(member))
            }
            (RoomPhase::Live(_), ChannelMessage::Left(member)) => {
                self.deliver.deliver(&active.room, Delivery::Left(member))
            }
            // A position that is on its way may be the one of before.
            (RoomPhase::Live(_) | RoomPhase::Waiting { .. }, ChannelMessage::Forgotten) => self.ask(active),
            _ => {}
        }
    }

    /// Delivers an event that is in no log, if the room is subscribed to.
    pub(super) fn unlogged(&self, room: &Room, publication: Publication) {
        let part = self.part(Partition::of(room));
        if part.get(room).is_some_and(|active| matches!(active.state, RoomPhase::Live(_))) {
            self.deliver.deliver(room, Delivery::Unlogged { publication: Box::new(publication), except: None });
        }
    }

    /// Delivers an event unless it came before. An event that is not the next one shows the hub a hole.
    fn pass(&self, room: &Room, last: &mut Position, epoch: Epoch, event: Arc<Event>) {
        if last.epoch == epoch && event.offset <= last.offset {
            return;
        }
        *last = Position::new(epoch.clone(), event.offset);
        self.deliver.deliver(room, Delivery::Event { epoch, event });
    }

    /// A room's position was read.
    pub(super) fn position(&self, room: &Room, ticket: u64, position: Position) {
        let mut part = self.part(Partition::of(room));
        let Some(active) = part.get_mut(room).filter(|active| active.ticket == ticket) else { return };
        match std::mem::replace(&mut active.state, RoomPhase::WAITING) {
            left @ RoomPhase::Left(_) => active.state = left,
            RoomPhase::Waiting { ahead, lost } => {
                let covered =
                    |(epoch, event): &(Epoch, Arc<Event>)| *epoch == position.epoch && event.offset <= position.offset;
                // What came before an event that the position covers is covered by it too, whatever its epoch.
                let first = ahead.iter().rposition(covered).map_or(0, |last| last + 1);
                self.deliver.deliver(room, Delivery::Started(position.clone()));
                let mut last = position;
                for (epoch, event) in ahead.into_iter().skip(first) {
                    self.pass(room, &mut last, epoch, event);
                }
                active.state = RoomPhase::Live(last);
                if lost {
                    self.ask(active);
                }
            }
            RoomPhase::Live(last) => {
                let ahead = last.epoch == position.epoch && last.offset > position.offset;
                let position = if ahead { last } else { position };
                self.deliver.deliver(room, Delivery::Started(position.clone()));
                active.state = RoomPhase::Live(position);
            }
        }
    }

    /// Whether the log is ahead of the events that came, or has another epoch.
    pub(super) fn is_behind(&self, room: &Room, log: &Position) -> bool {
        match self.part(Partition::of(room)).get(room).map(|active| &active.state) {
            Some(RoomPhase::Live(last)) => last.epoch != log.epoch || last.offset < log.offset,
            _ => false,
        }
    }

    /// Has the room's position read again and delivered: the hub then asks for the missing events.
    pub(super) fn renew(&self, room: &Room) {
        if let Some(active) = self.part(Partition::of(room)).get_mut(room)
            && matches!(active.state, RoomPhase::Live(_))
        {
            self.ask(active);
        }
    }
}

#[cfg(test)]
mod tests;
