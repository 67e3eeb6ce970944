//! One room of the memory broker, under its lock.
//!
//! Never waits. Always holds: an event is counted, kept and delivered in one step, so that deliveries come in the order of the log.

use std::sync::Arc;

use super::{
    idempotency::{Keys, KnownKey},
    limits::MemoryLimits,
    log::{self, Log},
    members::MemberList,
    retained::RetainedValues,
};
use crate::{
    broker::{BrokerError, Deliver, Delivery, History, HistoryQuery},
    config::Policies,
    model::{
        Deletion, Epoch, EraseMode, Event, MAX_OFFSET, Member, Notice, Policy, Position, PresenceMode, Publication,
        Retain, Retained, Room, Signal, UnixMillis,
    },
};

/// One room: its log, values, keys and members.
pub(super) struct RoomState {
    epoch: Epoch,
    log: Log,
    values: Option<Box<RetainedValues>>,
    keys: Option<Box<Keys>>,
    pub(super) members: MemberList,
    /// Whether the events are delivered.
    pub(super) subscribed: bool,
    /// Publishes that wait for memory: the room must not be forgotten meanwhile.
    held: u32,
    policy: Arc<Policy>,
    /// Where `policy` was looked up.
    policies: Arc<Policies>,
}

/// What can be given up when memory is short, the cheapest first; within a class the least recently used goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A room without an event, a subscription and a member: nothing is lost with it.
    Unused,
    /// A room without a subscription: its log, values and epoch are lost.
    Idle,
    /// The log of a room with a subscription: members lose nothing, clients that come back may get `recovered: false`.
    Log,
}

/// What one attempt to publish works with.
pub(super) struct PublishStep<'a> {
    pub(super) room: &'a Room,
    /// The room that it is published to, if this one's log is shared.
    pub(super) part: Option<&'a Room>,
    /// Its idempotency key.
    pub(super) key: Option<&'a KnownKey>,
    pub(super) now: UnixMillis,
    pub(super) limits: &'a MemoryLimits,
    pub(super) deliver: &'a dyn Deliver,
    /// The bytes that may be added.
    pub(super) free: usize,
    /// Whether it is the attempt after [`PublishOutcome::Full`].
    pub(super) held: bool,
}

/// What came of a publish.
pub(super) enum PublishOutcome {
    Done(Result<Position, BrokerError>),
    /// So many bytes are missing; the room is held until [`RoomState::release`] or the next attempt.
    Full {
        publication: Publication,
        bytes: usize,
    },
}

impl RoomState {
    /// A room without events.
    pub(super) fn new(epoch: Epoch, room: &Room, policies: &Arc<Policies>) -> Self {
        Self {
            epoch,
            log: Log::default(),
            values: None,
            keys: None,
            members: MemberList::default(),
            subscribed: false,
            held: 0,
            policy: policies.of(room),
            policies: Arc::clone(policies),
        }
    }

    /// Takes over policies that were swapped in.
    pub(super) fn follow(&mut self, room: &Room, policies: &Arc<Policies>) {
        if !Arc::ptr_eq(&self.policies, policies) {
            self.policies = Arc::clone(policies);
            self.policy = policies.of(room);
        }
    }

    /// The bytes that the room holds, without its name.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.log.bytes()
            + self.values.as_ref().map_or(0, |values| values.bytes())
            + self.keys.as_ref().map_or(0, |keys| keys.bytes())
            + self.members.bytes()
    }

    fn is_in_use(&self) -> bool {
        self.subscribed || self.held > 0 || !self.members.is_empty()
    }

    /// Whether it is in use, and never had an event.
    pub(super) fn is_blank(&self) -> bool {
        self.is_in_use() && self.log.end() == 0
    }

    /// What of the room can be given up.
    pub(super) fn class(&self) -> Option<Class> {
        match (self.is_in_use(), self.log.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Class::Log),
            (false, _) if self.log.end() == 0 => Some(Class::Unused),
            (false, _) => Some(Class::Idle),
        }
    }

    /// Gives up `bytes` of the log, or all of it.
    pub(super) fn give_up_log(&mut self, bytes: usize) {
        self.log.give_up(bytes);
    }

    /// The last event's position.
    pub(super) fn position(&self) -> Position {
        Position::new(self.epoch.clone(), self.log.end())
    }

    /// Whether each idempotency key is known that came since then and is not too old.
    pub(super) fn knows_keys_since(&self, since: UnixMillis) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.knows_since(since))
    }

    /// Drops what has aged.
    pub(super) fn expire(&mut self, limits: &MemoryLimits, now: UnixMillis) {
        self.log.trim(&self.policy, now, 0, 0);
        if let Some(keys) = &mut self.keys {
            keys.expire(limits, now);
            if keys.bytes() == 0 {
                self.keys = None;
            }
        }
    }

    /// Appends and delivers, unless the key is known or memory is missing.
    pub(super) fn publish(&mut self, publication: Publication, step: &PublishStep<'_>) -> PublishOutcome {
        if step.held {
            self.release();
        }
        let held_before = self.bytes();
        self.expire(step.limits, step.now);
        let known = step.key.zip(self.keys.as_mut()).map_or(Ok(None), |(key, keys)| keys.get(key, step.now));
        if let Some(known) = known.transpose() {
            return PublishOutcome::Done(known.map(|offset| Position::new(self.epoch.clone(), offset)));
        }
        if let Err(error) = BrokerError::check_topic(&self.policy, &publication.topic) {
            return PublishOutcome::Done(Err(error));
        }
        let cost = log::cost(publication.cost());
        let mut bytes = RetainedValues::cost_of(&self.policy, &publication, cost);
        if log::keeps(&self.policy) {
            let limit = self.policy.history_bytes;
            if cost > limit {
                return PublishOutcome::Done(Err(BrokerError::TooLarge { bytes: cost, limit }));
            }
            self.log.trim(&self.policy, step.now, 1, cost);
            bytes += cost;
        }
        bytes += step.key.map_or(0, KnownKey::cost);
        let freed = held_before.saturating_sub(self.bytes());
        if bytes > step.free.saturating_add(freed) {
            self.held += 1;
            return PublishOutcome::Full { publication, bytes: bytes - freed };
        }
        PublishOutcome::Done(self.append(publication, step))
    }

    /// Delivers what enters no log.
    pub(super) fn publish_unlogged(
        &self,
        room: &Room,
        publication: Publication,
        except: Box<str>,
        deliver: &dyn Deliver,
    ) {
        if self.subscribed {
            deliver.deliver(room, Delivery::Unlogged { publication: Box::new(publication), except: Some(except) });
        }
    }

    /// Delivers a signal.
    pub(super) fn signal(&self, room: &Room, signal: Signal, deliver: &dyn Deliver) {
        if self.subscribed {
            deliver.deliver(room, Delivery::Signal(Box::new(signal)));
        }
    }

    /// Delivers a notice.
    pub(super) fn notify(&self, room: &Room, notice: Notice, deliver: &dyn Deliver) {
        if self.subscribed {
            deliver.deliver(room, Delivery::Notice(Box::new(notice)));
        }
    }

    fn append(&mut self, publication: Publication, step: &PublishStep<'_>) -> Result<Position, BrokerError> {
        if self.log.end() >= MAX_OFFSET {
            return Err(BrokerError::Unavailable("the room has used up its offsets".into()));
        }
        // The clock may be set back; a room's times are not.
        let time = step.now.max(self.log.time());
        let event = Arc::new(Event::from_publication(publication, self.log.end() + 1, time, step.part.cloned()));
        self.log.append(Arc::clone(&event), &self.policy);
        if self.policy.retain != Retain::None {
            self.values.get_or_insert_default().apply(&event, &self.policy);
        }
        if let Some(key) = step.key {
            self.keys.get_or_insert_default().insert(key, event.offset, step.limits, step.now);
        }
        if self.subscribed {
            step.deliver.deliver(step.room, Delivery::Event { epoch: self.epoch.clone(), event });
        }
        Ok(self.position())
    }

    /// Begins a new life, without events, values and keys, for the same members. What there was until now.
    pub(super) fn begin_anew(&mut self, epoch: Epoch, room: &Room) -> Self {
        let mut anew = Self::new(epoch, room, &self.policies);
        anew.members = std::mem::take(&mut self.members);
        (anew.subscribed, anew.held) = (self.subscribed, self.held);
        std::mem::replace(self, anew)
    }

    /// Puts what says that it is deleted in the place of an event, and takes its value out. Whether there is one or the other.
    pub(super) fn delete_event(&mut self, deletion: &Deletion, part: Option<&Room>) -> bool {
        if deletion.at.epoch != self.epoch {
            return false;
        }
        // A value outlasts its event.
        let was_value = self.values.as_mut().is_some_and(|values| values.delete(deletion.at.offset));
        self.log.replace(deletion, part) || was_value
    }

    /// Whether there is an event of a user that is to go with it.
    pub(super) fn has_event_to_erase(&self, user: &str) -> bool {
        let has_value = || self.values.as_ref().is_some_and(|values| values.has_event_of(user));
        self.policy.erase != EraseMode::Keep && (self.log.has_event_of(user) || has_value())
    }

    /// Ends the hold of a publish that found no memory.
    pub(super) fn release(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// A part of the log.
    pub(super) fn history(&self, query: &HistoryQuery) -> History {
        self.log.query(&self.epoch, query)
    }

    /// The retained values.
    pub(super) fn retained(&mut self, room: &Room) -> Retained {
        let Position { epoch, offset } = self.position();
        let events = self.values.as_mut().map(|values| values.list(&self.policy)).unwrap_or_default();
        Retained { room: room.clone(), epoch, offset, events }
    }

    /// Adds a member where the policy tracks them.
    pub(super) fn join(&mut self, room: &Room, member: &Member, deliver: &dyn Deliver) {
        if self.policy.presence != PresenceMode::Off && self.members.join(member) {
            self.tell(room, Delivery::Joined(member.clone()), deliver);
        }
    }

    /// Removes a member.
    pub(super) fn leave(&mut self, room: &Room, member: &Member, deliver: &dyn Deliver) {
        if let Some(member) = self.members.leave(&member.connection) {
            self.tell(room, Delivery::Left(member), deliver);
        }
    }

    fn tell(&self, room: &Room, delivery: Delivery, deliver: &dyn Deliver) {
        if self.subscribed && self.policy.presence == PresenceMode::Events {
            deliver.deliver(room, delivery);
        }
    }
}

#[cfg(test)]
impl RoomState {
    /// [`Self::bytes`], every part counted anew.
    pub(super) fn bytes_anew(&self) -> usize {
        size_of::<Self>()
            + self.log.bytes_anew()
            + self.values.as_ref().map_or(0, |values| values.bytes_anew())
            + self.keys.as_ref().map_or(0, |keys| keys.bytes_anew())
            + self.members.bytes_anew()
    }
}
