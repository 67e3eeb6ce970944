//! The connections on their way into a room's stream, and what is held for them.
//!
//! Pure, as the stream is. Knows where the stream stands only by what it is told. Always holds: a join that waits does so in one
//! list: for the stream's first position, for the log, or for a batch that its client has seen already.

use std::sync::Arc;

use crate::{
    broker::BrokerError,
    hub::{
        connection::key::ConnectionKey,
        fanout::{admission::Admission, broadcast::Broadcast, room_index::RoomIndex, stream_effect::StreamEffect},
        membership::pending_join::{JoinAnswer, JoinPurpose, PendingJoin},
        planted::{Fault, planted},
    },
    model::{Policy, Position, Retain, Since},
};

/// Joins that wait for the same part of the log. Live broadcasts are held once for all of them.
#[derive(Debug)]
struct JoinRead {
    ticket: u64,
    since: Option<Since>,
    /// The stream's position when the log was asked.
    target: Position,
    /// In a shared log one only, because each is in other rooms.
    joins: Vec<PendingJoin>,
    /// The broadcasts that began since.
    held: Vec<Arc<Broadcast>>,
    /// Whether `held` was full.
    overflowed: bool,
}

impl JoinRead {
    fn hold(&mut self, broadcast: &Arc<Broadcast>) {
        if self.held.len() < Joins::MAX_HELD {
            self.held.push(Arc::clone(broadcast));
        } else {
            self.overflowed = true;
        }
    }
}

/// The joins of a stream.
#[derive(Debug, Default)]
pub struct Joins {
    /// How many reads were made.
    reads: u64,
    /// Joins that wait for the log.
    reading: Vec<JoinRead>,
    /// Joins that wait for the stream's first position.
    unplaced: Vec<PendingJoin>,
    /// Joins of clients that saw more, from another worker or pod, than was begun here: they wait for that.
    early: Vec<PendingJoin>,
}

impl Joins {
    /// The most broadcasts held while the log is read for joins; beyond it the answer is `recovered: false`.
    pub const MAX_HELD: usize = if cfg!(test) { 4 } else { 256 };

    /// Whether none waits, and no answer of the log is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unplaced.is_empty() && self.early.is_empty() && self.reading.is_empty()
    }

    /// The stream has its first position.
    pub fn placed(&mut self, position: &Position, policy: &Arc<Policy>, effects: &mut Vec<StreamEffect>) {
        for join in std::mem::take(&mut self.unplaced) {
            self.join(join, Some(position), policy, effects);
        }
    }

    /// The stream has come to a position: lets in what waited for it.
    pub fn reached(&mut self, position: &Position, policy: &Arc<Policy>, effects: &mut Vec<StreamEffect>) {
        let waits = |join: &PendingJoin| join.since.as_ref().is_some_and(|since| since.offset > position.offset);
        let (early, ready) = std::mem::take(&mut self.early).into_iter().partition(waits);
        self.early = early;
        let ready: Vec<PendingJoin> = ready;
        for join in ready {
            self.join(join, Some(position), policy, effects);
        }
    }

    /// Holds a broadcast that begins for the joins that wait for the log.
    pub fn hold(&mut self, broadcast: &Arc<Broadcast>) {
        self.reading.iter_mut().for_each(|read| read.hold(broadcast));
    }

    /// Lets a join in, or has it wait for the log.
    pub fn join(
        &mut self,
        join: PendingJoin,
        position: Option<&Position>,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        let Some(position) = position else {
            self.unplaced.push(join);
            return;
        };
        let at_position = |since: &Since| {
            since.offset == position.offset && (since.epoch == position.epoch || planted(Fault::EpochIgnored))
        };
        match &join.since {
            Some(since) if at_position(since) => admit(join, position.clone(), true, effects),
            None if policy.retain == Retain::None => admit(join, position.clone(), false, effects),
            _ => {
                let since = join.since.clone();
                let shared = |read: &&mut JoinRead| read.since == since && join.parts.is_empty();
                if let Some(read) = self.reading.iter_mut().find(shared) {
                    read.joins.push(join);
                    return;
                }
                self.reads += 1;
                let (ticket, target, parts) = (self.reads, position.clone(), join.parts.clone());
                let read = StreamEffect::ReadForJoin { ticket, since: since.clone(), target: position.clone(), parts };
                effects.push(read);
                let (joins, held) = (vec![join], Vec::new());
                self.reading.push(JoinRead { ticket, since, target, joins, held, overflowed: false });
            }
        }
    }

    /// The log answered a [`StreamEffect::ReadForJoin`].
    pub fn read_answered(
        &mut self,
        ticket: u64,
        answer: Result<JoinAnswer, BrokerError>,
        position: &Position,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        let Some(at) = self.reading.iter().position(|read| read.ticket == ticket) else { return };
        let JoinRead { since, target, joins, held, overflowed, .. } = self.reading.swap_remove(at);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                effects.extend(joins.into_iter().map(|join| StreamEffect::TurnAway(join, error.clone())));
                return;
            }
        };
        let overflowed = overflowed && !planted(Fault::FullHold);
        match (answer, since) {
            (JoinAnswer::Early, Some(since)) => {
                for join in joins {
                    // The batch may have begun while the log was read.
                    if position.offset >= since.offset {
                        self.join(join, Some(position), policy, effects);
                    } else {
                        self.early.push(join);
                    }
                }
            }
            (JoinAnswer::Missed(broadcasts), Some(since)) if !overflowed => {
                effects.push(StreamEffect::CountRecoveries(true, joins.len()));
                let before: Arc<[_]> = broadcasts.into_iter().chain(held).collect();
                let position = Position::new(target.epoch, since.offset);
                effects.extend(joins.into_iter().map(|join| {
                    let (position, before) = (position.clone(), Arc::clone(&before));
                    StreamEffect::Admit(Admission { join, position, recovered: true, before })
                }));
            }
            (answer, since) => {
                if since.is_some() {
                    effects.push(StreamEffect::CountRecoveries(false, joins.len()));
                }
                if overflowed {
                    // More was begun meanwhile than is held: what was read is too old to continue from.
                    for join in joins {
                        if join.purpose == JoinPurpose::CatchUp {
                            admit(join, position.clone(), false, effects);
                        } else {
                            self.join(PendingJoin { since: None, ..join }, Some(position), policy, effects);
                        }
                    }
                    return;
                }
                // The retained values were read after `target`: what was begun since follows them, so that none stays stale.
                let retained = if let JoinAnswer::Fresh(retained) = answer { retained } else { None };
                let before: Arc<[_]> = retained.into_iter().chain(held).collect();
                effects.extend(joins.into_iter().map(|join| {
                    let (position, before) = (target.clone(), Arc::clone(&before));
                    StreamEffect::Admit(Admission { join, position, recovered: false, before })
                }));
            }
        }
    }

    /// A connection no longer joins `part`, the stream's own room or one that shares its log; why it did, if it did.
    pub fn cancel(&mut self, key: ConnectionKey, part: RoomIndex) -> Option<JoinPurpose> {
        let mut purpose = None;
        let mut stays = |join: &mut PendingJoin| {
            if join.key != key {
                return true;
            }
            // Without a shared log there are no parts, and it joins this room.
            let all = join.parts.len();
            join.parts.retain(|(index, _)| *index != part);
            if all == 0 || join.parts.len() < all {
                purpose = Some(join.purpose.clone());
            }
            !join.parts.is_empty()
        };
        self.unplaced.retain_mut(&mut stays);
        self.early.retain_mut(&mut stays);
        for read in &mut self.reading {
            read.joins.retain_mut(&mut stays);
        }
        purpose
    }

    /// Whether one of them is on its way into a room that shares the log.
    #[must_use]
    pub fn lead_to(&self, part: RoomIndex) -> bool {
        let reading = self.reading.iter().flat_map(|read| &read.joins);
        let all = self.unplaced.iter().chain(&self.early).chain(reading);
        all.flat_map(|join| &join.parts).any(|(index, _)| *index == part)
    }
}

/// A join into a stream that fans out stands behind what is being sent: the position is that of the running batch.
fn admit(join: PendingJoin, position: Position, recovered: bool, effects: &mut Vec<StreamEffect>) {
    effects.push(StreamEffect::Admit(Admission { join, position, recovered, before: Arc::new([]) }));
}
