//! The acks of a pod's clients that wait for the broker, and those that it must be asked about first.
//!
//! Pure: the time is the caller's, in milliseconds since the pod began. Always holds: of one user in one room one position of each
//! epoch waits, the highest; what is under way waits again if it failed; a user's own acks are seen by the user at once; all of it is
//! bounded, and one user alone leaves place for others; no call costs more than what it names.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    broker::{MAX_EPOCHS, advance},
    model::{Position, Room},
};

/// What waits of a user in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingAck {
    /// The user.
    pub user: Arc<str>,
    /// The room.
    pub room: Room,
    /// The positions, of different epochs.
    pub positions: Vec<Position>,
    /// The user's personal room, if it has one: its connections are told there.
    pub personal: Option<Room>,
    /// Whether others are told.
    pub receipts: bool,
}

#[derive(Debug)]
struct ReadPlace {
    positions: Vec<Position>,
    personal: Option<Room>,
    receipts: bool,
}

/// What waits of all users.
#[derive(Debug, Default)]
struct UserPlaces(HashMap<Arc<str>, HashMap<Room, ReadPlace>>);

impl UserPlaces {
    fn list(&self) -> Vec<WaitingAck> {
        let each = self.0.iter().flat_map(|(user, rooms)| rooms.iter().map(move |(room, place)| (user, room, place)));
        let ack = |(user, room, place): (&Arc<str>, &Room, &ReadPlace)| WaitingAck {
            user: Arc::clone(user),
            room: room.clone(),
            positions: place.positions.clone(),
            personal: place.personal.clone(),
            receipts: place.receipts,
        };
        each.map(ack).collect()
    }

    fn of(&self, user: &str) -> impl Iterator<Item = (Room, Vec<Position>)> {
        let rooms = self.0.get(user).into_iter().flatten();
        rooms.map(|(room, place)| (room.clone(), place.positions.clone()))
    }
}

/// What a pod knows of acks that the broker does not know yet. `T`: where what becomes of one is told.
#[derive(Debug)]
pub struct AckBook<T> {
    waiting: UserPlaces,
    rooms: usize,
    /// Of the round that is under way.
    leaving: Arc<UserPlaces>,
    asked: VecDeque<(WaitingAck, T)>,
    /// How many of these are of a user.
    asked_of: HashMap<Arc<str>, usize>,
    /// The users of which acks are being judged, and whether each was forgotten since.
    judged: HashMap<Arc<str>, bool>,
    written_ms: Option<u64>,
}

/// What one round keeps.
#[derive(Debug, Default)]
pub struct AckRound(Arc<UserPlaces>);

impl AckRound {
    /// Its acks. The book need not wait for this list.
    #[must_use]
    pub fn acks(&self) -> Vec<WaitingAck> {
        self.0.list()
    }
}

impl<T> Default for AckBook<T> {
    fn default() -> Self {
        Self {
            waiting: UserPlaces::default(),
            rooms: 0,
            leaving: Arc::default(),
            asked: VecDeque::new(),
            asked_of: HashMap::new(),
            judged: HashMap::new(),
            written_ms: None,
        }
    }
}

impl<T> AckBook<T> {
    /// The most rooms of users that wait.
    pub const MAX: usize = 32_768;

    /// The most acks that wait to be judged.
    pub const MAX_ASKED: usize = 4_096;

    /// The most rooms of one user that wait, and the most acks of it to be judged: as many as may be kept of a user.
    pub const MAX_OF_USER: usize = 1_000;

    /// As many have place whatever others do, as long as there is any.
    const LEAST_OF_USER: usize = 64;

    /// Whether a user that has so many has place for one more. The fewer are left, the smaller is the share of one user, so that one that
    /// takes all that it gets leaves place for others.
    pub(super) fn has_place(own: usize, all: usize, most: usize) -> bool {
        let share = most.saturating_sub(all) / 4;
        all < most && own < share.clamp(Self::LEAST_OF_USER, Self::MAX_OF_USER)
    }

    /// Takes in an ack that is known to be good. `false`: there is no room for it.
    #[must_use]
    pub fn put(&mut self, ack: WaitingAck) -> bool {
        let own = self.waiting.0.get(&ack.user).map_or(0, HashMap::len);
        self.insert(ack, Self::has_place(own, self.rooms, Self::MAX))
    }

    /// Takes in an ack, in a place of its own only if it has one.
    fn insert(&mut self, ack: WaitingAck, has_place: bool) -> bool {
        let WaitingAck { user, room, positions, personal, receipts } = ack;
        if let Some(place) = self.waiting.0.get_mut(&user).and_then(|rooms| rooms.get_mut(&room)) {
            positions.iter().for_each(|position| advance_both(&mut place.positions, position));
            place.personal = personal.or(place.personal.take());
            // What one device keeps to itself, none tells.
            place.receipts &= receipts;
            return true;
        }
        if has_place {
            self.rooms += 1;
            self.waiting.0.entry(user).or_default().insert(room, ReadPlace { positions, personal, receipts });
        }
        has_place
    }

    /// One that was taken in waits again. `false`: there is no room for it.
    fn put_back(&mut self, ack: WaitingAck) -> bool {
        let has_place = self.rooms < Self::MAX;
        self.insert(ack, has_place)
    }

    /// Takes in one that the broker must judge.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn ask(&mut self, ack: WaitingAck, waiter: T) -> Result<(), T> {
        let own = self.asked_of.get(&ack.user).copied().unwrap_or(0);
        if !Self::has_place(own, self.asked.len(), Self::MAX_ASKED) {
            return Err(waiter);
        }
        self.asked_of.insert(Arc::clone(&ack.user), own + 1);
        self.asked.push_back((ack, waiter));
        Ok(())
    }

    /// Those that the broker must judge, which wait no more. [`Self::end_judging`] follows when it has.
    #[must_use]
    pub fn take_asked(&mut self) -> VecDeque<(WaitingAck, T)> {
        for user in std::mem::take(&mut self.asked_of).into_keys() {
            self.judged.entry(user).or_insert(false);
        }
        std::mem::take(&mut self.asked)
    }

    /// Takes in one that the broker found good, unless its user was forgotten meanwhile. `false`: there is no room for it.
    #[must_use]
    pub fn put_judged(&mut self, ack: WaitingAck) -> bool {
        self.judged.get(&ack.user).is_some_and(|is_forgotten| *is_forgotten) || self.put(ack)
    }

    /// All that were asked about are judged.
    pub fn end_judging(&mut self) {
        self.judged = HashMap::new();
    }

    /// When the next round is due; `None`: nothing waits.
    #[must_use]
    pub fn due_ms(&self, every_ms: u64) -> Option<u64> {
        (self.rooms > 0).then(|| self.written_ms.map_or(0, |at| at.saturating_add(every_ms)))
    }

    /// Begins a round: what waits, if it is due.
    #[must_use]
    pub fn begin(&mut self, every_ms: u64, now_ms: u64) -> AckRound {
        // A round that was given up did what it did: to do it again is harmless.
        for ack in std::mem::take(&mut self.leaving).list() {
            let _ = self.put_back(ack);
        }
        let is_due = self.written_ms.is_none_or(|at| at.saturating_add(every_ms) <= now_ms);
        if is_due && self.rooms > 0 {
            self.written_ms = Some(now_ms);
            self.rooms = 0;
            self.leaving = Arc::new(std::mem::take(&mut self.waiting));
        }
        AckRound(Arc::clone(&self.leaving))
    }

    /// Ends the round: these failed, and wait again. The number of those for which there is no room any more.
    pub fn end(&mut self, failed: Vec<WaitingAck>) -> usize {
        self.leaving = Arc::default();
        failed.into_iter().filter_map(|ack| (!self.put_back(ack)).then_some(())).count()
    }

    /// What waits of a user, or is being judged, is not kept any more, but what a round under way has taken.
    pub fn forget(&mut self, user: &str) {
        self.rooms -= self.waiting.0.remove(user).map_or(0, |rooms| rooms.len());
        self.asked.retain(|(ack, _)| *ack.user != *user);
        self.asked_of.remove(user);
        if let Some(is_forgotten) = self.judged.get_mut(user) {
            *is_forgotten = true;
        }
    }

    /// What waits of a user.
    #[must_use]
    pub fn of(&self, user: &str) -> Vec<(Room, Vec<Position>)> {
        self.waiting.of(user).chain(self.leaving.of(user)).collect()
    }
}

/// Takes a position among as many of the broker's, and of those that wait.
pub fn advance_both(positions: &mut Vec<Position>, position: &Position) {
    advance(positions, position, 2 * MAX_EPOCHS);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
