//! The acks of a pod's clients that wait for the broker, and those that it must be asked about first.
//!
//! Pure: the time is the caller's, in milliseconds since the pod began. Always holds: of one user in one room one position of each
//! epoch waits, the highest; what is under way waits again if it failed; a user's own acks are seen by the user at once; all of it is
//! bounded.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    broker::MAX_EPOCHS,
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
}

#[derive(Debug)]
struct ReadPlace {
    positions: Vec<Position>,
    personal: Option<Room>,
}

/// What a pod knows of acks that the broker does not know yet. `T`: where what becomes of one is told.
#[derive(Debug)]
pub struct AckBook<T> {
    waiting: HashMap<Arc<str>, HashMap<Room, ReadPlace>>,
    rooms: usize,
    /// Of the round that is under way.
    leaving: Vec<WaitingAck>,
    asked: VecDeque<(WaitingAck, T)>,
    written_ms: Option<u64>,
}

/// What one round does.
#[derive(Debug)]
pub struct AckRound<T> {
    /// To be kept.
    pub acks: Vec<WaitingAck>,
    /// To be judged.
    pub asked: Vec<(WaitingAck, T)>,
}

impl<T> Default for AckBook<T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), rooms: 0, leaving: Vec::new(), asked: VecDeque::new(), written_ms: None }
    }
}

impl<T> AckBook<T> {
    /// The most rooms of users that wait.
    pub const MAX: usize = 32_768;

    /// The most acks that wait to be judged.
    pub const MAX_ASKED: usize = 4_096;

    /// Takes in an ack that is known to be good. `false`: there is no room for it.
    #[must_use]
    pub fn put(&mut self, ack: WaitingAck) -> bool {
        let WaitingAck { user, room, positions, personal } = ack;
        if let Some(place) = self.waiting.get_mut(&user).and_then(|rooms| rooms.get_mut(&room)) {
            positions.into_iter().for_each(|position| advance(&mut place.positions, position));
            place.personal = personal.or(place.personal.take());
            return true;
        }
        if self.rooms >= Self::MAX {
            return false;
        }
        self.rooms += 1;
        self.waiting.entry(user).or_default().insert(room, ReadPlace { positions, personal });
        true
    }

    /// Takes in one that the broker must judge.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn ask(&mut self, ack: WaitingAck, waiter: T) -> Result<(), T> {
        if self.asked.len() >= Self::MAX_ASKED {
            return Err(waiter);
        }
        self.asked.push_back((ack, waiter));
        Ok(())
    }

    /// When the next round is due; `None`: nothing waits.
    #[must_use]
    pub fn due_ms(&self, every_ms: u64) -> Option<u64> {
        if !self.asked.is_empty() {
            return Some(0);
        }
        (self.rooms > 0).then(|| self.written_ms.map_or(0, |at| at.saturating_add(every_ms)))
    }

    /// Begins a round: what is to be judged, and what waits if it is due.
    #[must_use]
    pub fn begin(&mut self, every_ms: u64, now_ms: u64) -> AckRound<T> {
        // A round that was given up did what it did: to do it again is harmless.
        for ack in std::mem::take(&mut self.leaving) {
            let _ = self.put(ack);
        }
        let is_due = self.written_ms.is_none_or(|at| at.saturating_add(every_ms) <= now_ms);
        if is_due && self.rooms > 0 {
            self.written_ms = Some(now_ms);
            self.rooms = 0;
            let all = std::mem::take(&mut self.waiting).into_iter();
            let acks = all.flat_map(|(user, rooms)| {
                rooms.into_iter().map(move |(room, ReadPlace { positions, personal })| WaitingAck {
                    user: Arc::clone(&user),
                    room,
                    positions,
                    personal,
                })
            });
            self.leaving = acks.collect();
        }
        AckRound { acks: self.leaving.clone(), asked: self.asked.drain(..).collect() }
    }

    /// Ends the round: those at these places wait again. The number of those for which there is no room any more.
    pub fn end(&mut self, failed: impl IntoIterator<Item = usize>) -> usize {
        let mut leaving: Vec<_> = std::mem::take(&mut self.leaving).into_iter().map(Some).collect();
        let failed = failed.into_iter().filter_map(|index| leaving.get_mut(index)?.take()).collect::<Vec<_>>();
        failed.into_iter().filter_map(|ack| (!self.put(ack)).then_some(())).count()
    }

    /// What waits of a user.
    #[must_use]
    pub fn of(&self, user: &str) -> Vec<(Room, Vec<Position>)> {
        let waiting = self.waiting.get(user).into_iter().flatten();
        let waiting = waiting.map(|(room, place)| (room.clone(), place.positions.clone()));
        let leaving = self.leaving.iter().filter(|ack| *ack.user == *user);
        waiting.chain(leaving.map(|ack| (ack.room.clone(), ack.positions.clone()))).collect()
    }
}

/// Takes a position among those of other epochs, the highest of its own.
pub fn advance(positions: &mut Vec<Position>, position: Position) {
    if let Some(known) = positions.iter_mut().find(|known| known.epoch == position.epoch) {
        known.offset = known.offset.max(position.offset);
        return;
    }
    // As many of the broker's, and of those that wait.
    if positions.len() >= 2 * MAX_EPOCHS {
        positions.remove(0);
    }
    positions.push(position);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Epoch;

    fn ack(user: &str, room: &str, epoch: &str, offset: u64) -> WaitingAck {
        let position = Position::new(Epoch::new(epoch), offset);
        WaitingAck { user: user.into(), room: Room::parse(room).unwrap(), positions: vec![position], personal: None }
    }

    fn offsets(acks: &[WaitingAck]) -> Vec<String> {
        let one = |ack: &WaitingAck| {
            let of = |position: &Position| format!("{}{}", position.epoch, position.offset);
            format!("{} {} {}", ack.user, ack.room, ack.positions.iter().map(of).collect::<Vec<_>>().join(","))
        };
        let mut all: Vec<_> = acks.iter().map(one).collect();
        all.sort();
        all
    }

    #[test]
    fn a_thousand_acks_are_one_write_a_second() {
        let mut book = AckBook::<()>::default();
        assert_eq!(book.due_ms(1_000), None);
        let mut written = Vec::new();
        for n in 1..=5_000_u64 {
            assert!(book.put(ack("ann", "chat:1", "e", n)));
            if book.due_ms(1_000).unwrap() <= n {
                written.extend(offsets(&book.begin(1_000, n).acks));
                assert_eq!(book.end([]), 0);
            }
        }
        assert_eq!(
            written,
            ["ann chat:1 e1", "ann chat:1 e1001", "ann chat:1 e2001", "ann chat:1 e3001", "ann chat:1 e4001"]
        );
        assert_eq!(book.due_ms(1_000), Some(5_001));
        assert_eq!(offsets(&book.begin(1_000, 5_001).acks), ["ann chat:1 e5000"]);
    }

    #[test]
    fn the_highest_waits_and_epochs_stand_side_by_side() {
        let mut book = AckBook::<()>::default();
        for (epoch, offset) in [("d", 9), ("d", 7), ("e", 3), ("e", 5), ("e", 4)] {
            assert!(book.put(ack("ann", "chat:1", epoch, offset)));
        }
        assert!(book.put(ack("bob", "chat:1", "e", 1)));
        assert_eq!(offsets(&book.begin(1_000, 0).acks), ["ann chat:1 d9,e5", "bob chat:1 e1"]);
        assert_eq!(book.of("ann").len(), 1, "what is under way is seen as well");
        assert!(book.put(ack("ann", "chat:1", "e", 6)));
        assert_eq!(book.of("ann").len(), 2);
        // Both failed, and wait again beside what came meanwhile.
        assert_eq!(book.end([0, 1]), 0);
        assert!(book.begin(1_000, 999).acks.is_empty(), "not before its time");
        assert_eq!(offsets(&book.begin(1_000, 1_000).acks), ["ann chat:1 e6,d9", "bob chat:1 e1"]);
        assert_eq!(book.end([]), 0);
        assert!(book.of("ann").is_empty() && book.due_ms(1_000).is_none());
    }

    #[test]
    fn a_round_that_was_given_up_is_done_again() {
        let mut book = AckBook::<()>::default();
        assert!(book.put(ack("ann", "chat:1", "e", 3)));
        assert_eq!(book.begin(1_000, 0).acks.len(), 1);
        assert!(book.put(ack("ann", "chat:1", "e", 4)) && book.put(ack("bob", "chat:1", "e", 1)));
        assert_eq!(offsets(&book.begin(0, 5).acks), ["ann chat:1 e4", "bob chat:1 e1"]);
    }

    #[test]
    fn what_must_be_judged_waits_for_no_clock() {
        let mut book = AckBook::default();
        assert!(book.put(ack("ann", "chat:1", "e", 1)));
        assert_eq!(book.begin(1_000, 0).acks.len(), 1);
        book.end([]);
        assert!(book.put(ack("ann", "chat:1", "e", 2)));
        book.ask(ack("ann", "chat:2", "e", 7), "first").unwrap();
        assert_eq!(book.due_ms(1_000), Some(0));
        let round = book.begin(1_000, 1);
        assert_eq!((round.acks.len(), round.asked.len()), (0, 1));
        book.end([]);
        assert_eq!(book.due_ms(1_000), Some(1_000));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut book = AckBook::default();
        for n in 0..AckBook::<()>::MAX {
            assert!(book.put(ack("ann", &format!("chat:{n}"), "e", 1)));
        }
        assert!(!book.put(ack("bob", "chat:1", "e", 1)));
        assert!(book.put(ack("ann", "chat:1", "e", 2)), "what waits has its place");
        for _ in 0..AckBook::<()>::MAX_ASKED {
            book.ask(ack("ann", "chat:1", "e", 3), ()).unwrap();
        }
        assert!(book.ask(ack("ann", "chat:1", "e", 3), ()).is_err());
        let round = book.begin(1_000, 0);
        assert_eq!((round.acks.len(), round.asked.len()), (AckBook::<()>::MAX, AckBook::<()>::MAX_ASKED));
        assert!(book.put(ack("bob", "chat:1", "e", 1)));
        assert_eq!(book.end(0..round.acks.len()), 1, "one more than fits waits again");
    }

    proptest! {
        /// Whatever fails and whenever rounds begin: in the end the broker has the highest of each, written at most once in its time.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0u64..400, 0usize..3, 1u64..50, any::<bool>()), 1..120)) {
            let (mut book, mut now, mut last) = (AckBook::<()>::default(), 0, None::<u64>);
            let users = ["ann", "bob", "cem"];
            let mut highest = HashMap::new();
            let mut kept: HashMap<Arc<str>, u64> = HashMap::new();
            let mut write = |book: &mut AckBook<()>, now: u64, fails: bool, last: &mut Option<u64>| {
                let round = book.begin(1_000, now);
                if !round.acks.is_empty() {
                    assert!(last.is_none_or(|last| now - last >= 1_000));
                    *last = Some(now);
                }
                if fails {
                    assert_eq!(book.end(0..round.acks.len()), 0);
                } else {
                    for ack in &round.acks {
                        let offset = kept.entry(Arc::clone(&ack.user)).or_default();
                        *offset = (*offset).max(ack.positions[0].offset);
                    }
                    assert_eq!(book.end([]), 0);
                }
            };
            for (pause, user, offset, fails) in steps {
                now += pause;
                prop_assert!(book.put(ack(users[user], "r", "e", offset)));
                let known: &mut u64 = highest.entry(Arc::<str>::from(users[user])).or_default();
                *known = offset.max(*known);
                if book.due_ms(1_000).is_some_and(|due| due <= now) {
                    write(&mut book, now, fails, &mut last);
                }
            }
            write(&mut book, now + 1_000, false, &mut last);
            prop_assert_eq!(kept, highest);
        }
    }
}
