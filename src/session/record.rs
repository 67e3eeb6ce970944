//! The record of a Socket.IO session: what is written of it, and when, so that any pod can continue it.
//!
//! Never does I/O and never reads a clock: events and the time come in, effects go out. Always holds: at most one write is under
//! way, and what changes meanwhile is written after it; a join that waits for a write is carried out when that write has ended, however
//! it ended; a record that another connection has taken over is never written again.
//!
//! ```text
//!   new ──persist──▶ Writing ──written──▶ Idle ──persist, renew──▶ Writing
//!                      │ changed meanwhile: persist again
//!                      └ taken over: Close          end, forget: over
//! ```

use std::time::Duration;

use smallvec::SmallVec;

use super::record_value::{RecordValue, RecordedRoom};
use crate::model::{CommandId, Position, Room, Spelling, SubscribeTo};

/// What a worker knows of a session at one moment.
#[derive(Debug, Clone, Default)]
pub struct SessionView {
    /// The session's name.
    pub sid: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its user.
    pub user: Option<Box<str>>,
    /// This pod and connection.
    pub owner: Box<str>,
    /// Its rooms.
    pub rooms: Vec<RoomView>,
    /// Whether nothing waits for the client.
    pub queue_is_empty: bool,
}

/// What a worker knows of one room of a session.
#[derive(Debug, Clone)]
pub struct RoomView {
    /// The room.
    pub room: Room,
    /// How the client spells it.
    pub spelling: Spelling,
    /// Whether the pod put the client there.
    pub server_side: bool,
    /// Up to where every member has been sent the room; `None`: a fan-out is under way, or the client is not a member.
    pub sent: Option<Position>,
    /// When the room's last fan-out began and ended, counted in the worker's fan-outs.
    pub fan_out_span: (u64, u64),
}

/// Rooms that a client asked for, and the command that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The rooms.
    pub rooms: Vec<SubscribeTo>,
    /// The command.
    pub id: Option<CommandId>,
}

/// What the driver is to do for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordEffect {
    /// Store a value; [`SessionRecord::written`] is told what came of it.
    Write(RecordWrite),
    /// Store a last value. What comes of it is told to nothing: the session is over.
    WriteLast(RecordWrite),
    /// Remove the value of this key.
    Remove(String),
    /// Carry out a join that waited.
    Enter(JoinRequest),
    /// Something changed while the last write was under way: persist again.
    Persist,
    /// Close the connection: another one has the session.
    Close,
}

/// A value to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWrite {
    /// The session's secret name.
    pub pid: Box<str>,
    /// The value.
    pub value: RecordValue,
    /// How long it is stored.
    pub ttl: Duration,
    /// Whether it replaces the record of another owner. Otherwise the stored owner is read first.
    pub claims: bool,
    /// How long the driver tries.
    pub patience: Duration,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The value is stored.
    Stored,
    /// It could not be stored in time.
    Failed,
    /// The record has another owner.
    TakenOver,
}

/// How the continuation of a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Whether every room goes on without a gap.
    pub complete: bool,
    /// What the client said of itself.
    pub auth: Box<str>,
}

#[derive(Debug)]
struct Resuming {
    rooms: usize,
    broken: bool,
    auth: Box<str>,
}

/// The record of one session.
#[derive(Debug, Default)]
pub struct SessionRecord {
    /// `None`: the session cannot be continued, or is over.
    pid: Option<Box<str>>,
    /// How long a client may be away.
    max_away: Duration,
    /// A write is under way.
    writing: bool,
    /// Something has changed since that write began.
    stale: bool,
    /// Whether the next write replaces another owner's record.
    claims: bool,
    renew_at_ms: u64,
    joined: SmallVec<[(Room, Position); 1]>,
    /// Joins that wait for the next write, and those that wait for the one under way.
    waiting: Vec<JoinRequest>,
    committing: Vec<JoinRequest>,
    left: Vec<Room>,
    resuming: Option<Box<Resuming>>,
}

impl SessionRecord {
    /// How long a join waits for its record to be written.
    pub const JOIN_PATIENCE: Duration = Duration::from_secs(1);

    /// The most rooms that are remembered as left: the last event that a client got was in one of those, or in none.
    const MAX_LEFT: usize = 16;

    /// The record of a session that begins. `pid`: its secret name; without one it cannot be continued.
    #[must_use]
    pub fn new(pid: Option<Box<str>>, max_away: Duration) -> Self {
        Self { pid, max_away, claims: true, ..Self::default() }
    }

    /// The record of a session that is being continued. It is not written before `rooms` have answered and
    /// [`SessionRecord::room_resumed`] was told so.
    #[must_use]
    pub fn resuming(pid: Box<str>, max_away: Duration, rooms: usize, auth: Box<str>) -> Self {
        let resuming = Some(Box::new(Resuming { rooms, broken: false, auth }));
        Self { resuming, ..Self::new(Some(pid), max_away) }
    }

    /// The session's secret name, while it can be continued.
    #[must_use]
    pub fn pid(&self) -> Option<&str> {
        self.pid.as_deref()
    }

    fn is_written(&self) -> bool {
        self.pid.is_some() && self.resuming.is_none()
    }

    /// The client is in a room from `position` on. Whether that is to be persisted.
    #[must_use]
    pub fn joined(&mut self, room: Room, position: Position) -> bool {
        self.joined.retain(|(joined, _)| *joined != room);
        self.joined.push((room, position));
        self.is_written()
    }

    /// The client has left a room. Whether that is to be persisted.
    #[must_use]
    pub fn left(&mut self, room: &Room) -> bool {
        let before = self.joined.len();
        self.joined.retain(|(joined, _)| joined != room);
        if self.joined.len() == before {
            return false;
        }
        self.left.retain(|left| left != room);
        if self.left.len() >= Self::MAX_LEFT {
            self.left.remove(0);
        }
        self.left.push(room.clone());
        self.pid.is_some()
    }

    /// Whether a join must be recorded before it is carried out. Otherwise a client whose pod dies could continue behind an event
    /// of another room, without a room of which it was told that it is there. Before its first room it has no event to continue
    /// behind.
    #[must_use]
    pub fn delays_joins(&self) -> bool {
        self.pid.is_some() && !(self.joined.is_empty() && self.left.is_empty())
    }

    /// Has a join wait for the next write.
    pub fn delay(&mut self, request: JoinRequest) {
        self.waiting.push(request);
    }

    /// How many joins wait.
    #[must_use]
    pub fn delayed(&self) -> usize {
        self.waiting.len() + self.committing.len()
    }

    /// Writes what the session is now, or notes that it is to be written again after the write under way.
    pub fn persist(&mut self, now_ms: u64, view: impl FnOnce() -> Option<SessionView>) -> Option<RecordEffect> {
        let pid = self.pid.clone()?;
        if self.writing {
            self.stale = true;
            return None;
        }
        let value = self.value(view()?, false);
        self.writing = true;
        self.stale = false;
        self.renew_at_ms = now_ms + (as_millis(self.max_away) / 2).max(1);
        self.committing = std::mem::take(&mut self.waiting);
        // A join is not delayed for long because a record cannot be written.
        let patience = if self.committing.is_empty() { self.max_away } else { Self::JOIN_PATIENCE };
        let claims = std::mem::take(&mut self.claims);
        Some(RecordEffect::Write(RecordWrite { pid, value, ttl: self.max_away * 2, claims, patience }))
    }

    /// Whether the record is to be persisted because it would expire.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.is_written() && self.renew_at_ms <= now_ms
    }

    /// Whether a change of something that the record does not note itself is to be persisted.
    #[must_use]
    pub fn follows_changes(&self) -> bool {
        self.is_written()
    }

    /// A write has ended. That of an earlier session in the same namespace changes nothing.
    #[must_use]
    pub fn written(&mut self, pid: &str, outcome: WriteOutcome) -> Vec<RecordEffect> {
        if !self.writing || self.pid.as_deref().is_some_and(|own| own != pid) {
            return Vec::new();
        }
        self.writing = false;
        let stale = std::mem::take(&mut self.stale);
        if outcome == WriteOutcome::TakenOver {
            self.pid = None;
            return vec![RecordEffect::Close];
        }
        let joins = std::mem::take(&mut self.committing);
        let again = stale || !joins.is_empty();
        let mut effects: Vec<_> = joins.into_iter().map(RecordEffect::Enter).collect();
        if again {
            effects.push(RecordEffect::Persist);
        }
        effects
    }

    /// The connection ends. The last value says how far the session was sent, and is stored for as long as the client may be away.
    pub fn end(&mut self, view: impl FnOnce() -> Option<SessionView>) -> Option<RecordEffect> {
        if self.resuming.is_some() {
            return None;
        }
        let view = view()?;
        let pid = self.pid.take()?;
        let (ttl, patience) = (self.max_away, self.max_away);
        Some(RecordEffect::WriteLast(RecordWrite { pid, value: self.value(view, true), ttl, claims: false, patience }))
    }

    /// The session is over, and cannot be continued.
    pub fn forget(&mut self) -> Option<RecordEffect> {
        Some(RecordEffect::Remove(RecordValue::key(&self.pid.take()?)?))
    }

    /// A room of a session that is being continued has answered. `Some` after the last of them.
    pub fn room_resumed(&mut self, complete: bool) -> Option<Resumed> {
        let resuming = self.resuming.as_mut()?;
        resuming.rooms = resuming.rooms.saturating_sub(1);
        resuming.broken |= !complete;
        if resuming.rooms > 0 {
            return None;
        }
        let Resuming { broken, auth, .. } = *self.resuming.take()?;
        // The next write takes the record from the connection that had it.
        self.claims = true;
        Some(Resumed { complete: !broken, auth })
    }

    /// What is written of the session.
    fn value(&self, view: SessionView, ended: bool) -> RecordValue {
        let SessionView { sid, namespace, user, owner, rooms, queue_is_empty } = view;
        let all_sent = ended && queue_is_empty;
        let last = if all_sent { last_sent(&rooms) } else { None };
        let rooms: Vec<_> = rooms
            .into_iter()
            .map(|view| {
                let joined = self.joined.iter().find(|(room, _)| *room == view.room);
                RecordedRoom {
                    joined: joined.map(|(_, position)| RecordedRoom::position(position)),
                    sent: view.sent.filter(|_| all_sent).as_ref().map(RecordedRoom::position),
                    room: view.room,
                    spelling: view.spelling,
                    server_side: view.server_side,
                }
            })
            .collect();
        let entering = !ended && (self.delayed() > 0 || rooms.iter().any(|room| room.joined.is_none()));
        RecordValue { sid, namespace, user, owner, rooms, entering, left: self.left.clone(), last }
    }
}

/// The room whose fan-out was the last. Two fan-outs that overlapped may have reached a connection in either order.
fn last_sent(rooms: &[RoomView]) -> Option<Room> {
    let mut spans: Vec<_> = rooms.iter().map(|view| (view.fan_out_span, &view.room)).collect();
    spans.sort_unstable();
    match spans.as_slice() {
        [.., ((_, before), _), ((began, _), room)] if began > before => Some((*room).clone()),
        [(_, room)] => Some((*room).clone()),
        _ => None,
    }
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
