//! The rooms that an edge follows: over which link, how far it has come, and their newest events.
//!
//! Never waits, never does I/O: it puts what is to be said into links' queues. A room's life here:
//!
//! ```text
//!   subscribe       a link stands          the home says where it stands
//!  ──────────▶ cut ──────────────▶ asked ──────────────────────────────▶ stands
//!               ▲                    │        deliveries count              │
//!               └────────────────────┴──────────────────────────────────────┘
//!                              the link ended, or another one has the room
//! ```
//!
//! Always holds: nothing is delivered once `unsubscribe` has returned; no event is delivered twice, and none before an earlier one of its
//! epoch; after a cut the first delivery is [`Delivery::Started`], which shows the hub what it missed; a room is followed over the link that
//! rendezvous hashing gives it among those that stand.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{dial::SENTENCE, followed_room::FollowedRoom, link::HomeLink, rendezvous, tail::Tail};
use crate::{
    broker::{Deliver, Delivery, History, HistoryQuery, relay::message::FromEdge},
    metrics::RareWarning,
    model::{Offset, Policy, Position, Room, UnixMillis},
};

/// How long a room is followed after its last member has gone.
pub(super) const LINGER: Duration = Duration::from_secs(5);

#[derive(Default)]
struct RoomTable {
    rooms: HashMap<Room, FollowedRoom>,
    /// The links that stand, by their place among the addresses.
    links: Vec<Option<Arc<HomeLink>>>,
    /// How many rooms go over each.
    counts: Vec<usize>,
    /// Which room has which number; numbers are never given twice.
    numbers: HashMap<u32, Room>,
    next_number: u32,
    /// Rooms with a tail: the one that has had it longest gives way first.
    tails: VecDeque<Room>,
    tail_bytes: usize,
}

/// The followed rooms.
pub(super) struct FollowedRooms {
    table: Mutex<RoomTable>,
    deliver: Arc<dyn Deliver>,
    urls: Vec<String>,
    /// The most bytes of all tails.
    budget: usize,
    refusals: RareWarning,
}

impl FollowedRooms {
    pub(super) fn new(urls: Vec<String>, budget: usize, deliver: Arc<dyn Deliver>) -> Self {
        let (links, counts) = (urls.iter().map(|_| None).collect(), vec![0; urls.len()]);
        let table = Mutex::new(RoomTable { links, counts, ..RoomTable::default() });
        Self { table, deliver, urls, budget, refusals: RareWarning::new() }
    }

    fn lock(&self) -> MutexGuard<'_, RoomTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link that a room goes over, if one stands.
    pub(super) fn link_of(&self, room: &Room) -> Option<(usize, Arc<HomeLink>)> {
        let table = self.lock();
        let index = rendezvous::best(room.as_str(), &self.urls, |index| table.is_up(index))?;
        Some((index, table.links.get(index)?.clone()?))
    }

    /// A link by its place.
    pub(super) fn link(&self, index: usize) -> Option<Arc<HomeLink>> {
        self.lock().links.get(index)?.clone()
    }

    /// The places of the links that stand.
    pub(super) fn up(&self) -> Vec<usize> {
        let table = self.lock();
        (0..table.links.len()).filter(|index| table.is_up(*index)).collect()
    }

    /// How many rooms go over each link.
    pub(super) fn counts(&self) -> Vec<usize> {
        self.lock().counts.clone()
    }

    /// How many rooms are followed, and the bytes of their tails.
    pub(super) fn usage(&self) -> (usize, usize) {
        let table = self.lock();
        (table.rooms.len(), table.tail_bytes)
    }

    /// Begins a room, or has the home say again where it stands.
    pub(super) fn subscribe(&self, room: &Room, policy: Arc<Policy>) {
        let mut table = self.lock();
        let followed = table.rooms.entry(room.clone()).or_insert_with(|| FollowedRoom::new(Arc::clone(&policy)));
        followed.policy = policy;
        if followed.left.take().is_some() {
            // What comes before the answer is covered by it.
            followed.stands = false;
        }
        let link = followed.link;
        if let Some((index, number)) = link {
            if let Some(Some(link)) = table.links.get(index) {
                link.queue.send(&FromEdge::Follow { number, room: room.clone() });
            }
        } else {
            table.place(room, &self.urls);
        }
    }

    /// Ends the deliveries of a room. It is followed for a moment longer.
    pub(super) fn unsubscribe(&self, room: &Room) {
        if let Some(followed) = self.lock().rooms.get_mut(room) {
            followed.left = Some(Instant::now());
        }
    }

    /// Ends rooms that were left long ago.
    pub(super) fn forget(&self, now: Instant) {
        let mut table = self.lock();
        let is_over = |followed: &FollowedRoom| followed.left.is_some_and(|left| now.duration_since(left) >= LINGER);
        let over: Vec<Room> =
            table.rooms.iter().filter(|(_, followed)| is_over(followed)).map(|(room, _)| room.clone()).collect();
        for room in over {
            table.leave_link(&room);
            if let Some(followed) = table.rooms.remove(&room) {
                table.tail_bytes -= followed.tail.map_or(0, |tail| tail.bytes());
            }
        }
        let RoomTable { rooms, tails, .. } = &mut *table;
        tails.retain(|room| rooms.contains_key(room));
    }

    /// A link stands: the rooms that are its own go over it.
    pub(super) fn link_up(&self, index: usize, link: &Arc<HomeLink>) {
        let mut table = self.lock();
        if let Some(place) = table.links.get_mut(index) {
            *place = Some(Arc::clone(link));
        }
        table.place_all(&self.urls);
    }

    /// A link has ended: its rooms go over another one.
    pub(super) fn link_down(&self, index: usize, link: &Arc<HomeLink>) {
        let mut table = self.lock();
        match table.links.get_mut(index) {
            Some(place) if place.as_ref().is_some_and(|known| Arc::ptr_eq(known, link)) => *place = None,
            _ => return,
        }
        table.place_all(&self.urls);
    }

    /// The home says where a room stands.
    pub(super) fn started(&self, index: usize, number: u32, position: Position) {
        let mut table = self.lock();
        let Some((room, followed)) = table.over(index, number) else { return };
        followed.stands = true;
        followed.is_refused = false;
        let is_covered = |known: &Position| known.epoch != position.epoch || known.offset <= position.offset;
        followed.known = followed.known.take().filter(|known| !is_covered(known));
        let is_ahead = |last: &Position| last.epoch == position.epoch && last.offset > position.offset;
        let position = followed.last.take().filter(is_ahead).unwrap_or(position);
        let before = followed.tail.as_ref().map_or(0, Tail::bytes);
        if followed.tail.as_ref().is_none_or(|tail| tail.end() != position) {
            followed.tail = Some(Tail::behind(position.clone()));
        }
        followed.last = Some(position.clone());
        let after = followed.tail.as_ref().map_or(0, Tail::bytes);
        if followed.left.is_none() {
            self.deliver.deliver(&room, Delivery::Started(position));
        }
        table.tail_bytes = table.tail_bytes + after - before;
    }

    /// The home does not let this edge have a room: nothing comes of it, and what is here of it is answered no more. That is said
    /// once, and once a minute of all rooms: clients may ask for any.
    pub(super) fn refused(&self, index: usize, number: u32, why: &str) {
        let mut table = self.lock();
        let Some((room, followed)) = table.over(index, number) else { return };
        let is_news = !std::mem::replace(&mut followed.is_refused, true);
        let freed = followed.tail.take().map_or(0, |tail| tail.bytes());
        table.tail_bytes -= freed;
        if is_news && let Some(count) = self.refusals.due(Instant::now()) {
            let why: String = why.chars().take(SENTENCE).collect();
            tracing::warn!(%room, why, count, "the home refuses a room: its members get nothing");
        }
    }

    /// Asks again for rooms that the home refused: it may have been short of memory, or its patterns are others by now.
    pub(super) fn ask_refused(&self) {
        let table = self.lock();
        for (room, followed) in table.rooms.iter().filter(|(_, followed)| followed.is_refused) {
            if let Some((index, number)) = followed.link.filter(|_| followed.left.is_none())
                && let Some(Some(link)) = table.links.get(index)
            {
                link.queue.send(&FromEdge::Follow { number, room: room.clone() });
            }
        }
    }

    /// Something happened in a room.
    pub(super) fn delivered(&self, index: usize, number: u32, delivery: Delivery) {
        let mut table = self.lock();
        let Some((room, followed)) = table.over(index, number) else { return };
        if !followed.stands {
            return;
        }
        let is_wanted = followed.left.is_none();
        let Delivery::Event { epoch, event } = &delivery else {
            if is_wanted {
                self.deliver.deliver(&room, delivery);
            }
            return;
        };
        if followed.last.as_ref().is_some_and(|last| last.epoch == *epoch && event.offset <= last.offset) {
            return;
        }
        let grown = followed.take_event(epoch, event);
        let is_new = !std::mem::replace(&mut followed.is_listed, true);
        if is_wanted {
            self.deliver.deliver(&room, delivery);
        }
        if is_new {
            table.tails.push_back(room);
        }
        table.tail_bytes = table.tail_bytes.saturating_add_signed(grown);
        table.bound_tails(self.budget);
    }

    /// Whether a room's log has been seen to be this far, by the answer to a publish.
    pub(super) fn published(&self, room: &Room, position: &Position) {
        let mut table = self.lock();
        let Some(followed) = table.rooms.get_mut(room) else { return };
        let has = |last: &Position| last.epoch == position.epoch && last.offset >= position.offset;
        let knows = |known: &Position| known.epoch == position.epoch && known.offset >= position.offset;
        if !followed.last.as_ref().is_some_and(has) && !followed.known.as_ref().is_some_and(knows) {
            followed.known = Some(position.clone());
        }
    }

    /// What the home would answer, as far as that is known here. `now`: the home's time.
    pub(super) fn answer(&self, room: &Room, query: &HistoryQuery, now: UnixMillis) -> Option<History> {
        let mut table = self.lock();
        let followed = table.rooms.get_mut(room)?;
        if followed.known.is_some() {
            return None;
        }
        let policy = Arc::clone(&followed.policy);
        let tail = followed.tail.as_mut()?;
        let before = tail.bytes();
        tail.expire(&policy, now);
        let answer = tail.answer(query);
        let freed = before - tail.bytes();
        table.tail_bytes -= freed;
        answer
    }

    /// What allows one read of a room's log at a time, if it is followed.
    pub(super) fn gate(&self, room: &Room) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.lock().rooms.get(room).map(|followed| Arc::clone(&followed.gate))
    }

    /// The last event that came of a room and told of deleted ones.
    pub(super) fn deletion(&self, room: &Room) -> Option<Offset> {
        self.lock().rooms.get(room)?.deletion
    }

    /// The home answered with a part of a room's log. `deletion`: the last one when it was asked. Where another came meanwhile, what it
    /// answered may hold what is deleted.
    pub(super) fn was_read(&self, room: &Room, history: &History, deletion: Option<Offset>) {
        let mut table = self.lock();
        let Some(followed) = table.rooms.get_mut(room) else { return };
        if followed.deletion != deletion {
            return;
        }
        let policy = Arc::clone(&followed.policy);
        let Some(tail) = &mut followed.tail else { return };
        let before = tail.bytes();
        tail.extend_back(history, &policy);
        let grown = tail.bytes() - before;
        if grown > 0 && !std::mem::replace(&mut followed.is_listed, true) {
            table.tails.push_back(room.clone());
        }
        table.tail_bytes += grown;
        table.bound_tails(self.budget);
    }

    /// Nothing of a room is answered from here until the home says more of it.
    pub(super) fn drop_tail(&self, room: &Room) {
        let mut table = self.lock();
        if let Some(tail) = table.rooms.get_mut(room).and_then(|followed| followed.tail.take()) {
            table.tail_bytes -= tail.bytes();
        }
    }
}

impl RoomTable {
    fn is_up(&self, index: usize) -> bool {
        self.links.get(index).is_some_and(Option::is_some)
    }

    /// The room with that number, if it goes over that link.
    fn over(&mut self, index: usize, number: u32) -> Option<(Room, &mut FollowedRoom)> {
        let room = self.numbers.get(&number)?.clone();
        let followed = self.rooms.get_mut(&room)?;
        (followed.link == Some((index, number))).then_some((room, followed))
    }

    fn place_all(&mut self, urls: &[String]) {
        let rooms: Vec<Room> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.place(&room, urls);
        }
    }

    /// Has a room go over the link that is its own.
    fn place(&mut self, room: &Room, urls: &[String]) {
        let best = rendezvous::best(room.as_str(), urls, |index| self.is_up(index));
        let Some(followed) = self.rooms.get(room) else { return };
        let is_there = followed.link.is_some_and(|(index, _)| Some(index) == best && self.is_up(index));
        if is_there && followed.link.is_some_and(|(_, number)| self.numbers.contains_key(&number)) {
            return;
        }
        self.leave_link(room);
        let Some(index) = best else { return };
        self.next_number = self.next_number.wrapping_add(1);
        let number = self.next_number;
        self.numbers.insert(number, room.clone());
        if let Some(followed) = self.rooms.get_mut(room) {
            (followed.link, followed.stands) = (Some((index, number)), false);
            self.counts.get_mut(index).into_iter().for_each(|count| *count += 1);
        }
        if let Some(Some(link)) = self.links.get(index) {
            link.queue.send(&FromEdge::Follow { number, room: room.clone() });
        }
    }

    /// The room goes over no link.
    fn leave_link(&mut self, room: &Room) {
        let Some(followed) = self.rooms.get_mut(room) else { return };
        followed.stands = false;
        if let Some((index, number)) = followed.link.take() {
            self.numbers.remove(&number);
            self.counts.get_mut(index).into_iter().for_each(|count| *count -= 1);
            if let Some(Some(link)) = self.links.get(index) {
                link.queue.send(&FromEdge::Unfollow { number });
            }
        }
    }

    /// Has tails give way until all of them have no more than `budget` bytes.
    fn bound_tails(&mut self, budget: usize) {
        while self.tail_bytes > budget {
            let Some(room) = self.tails.pop_front() else { return };
            let Some(followed) = self.rooms.get_mut(&room) else { continue };
            followed.is_listed = false;
            if let Some(tail) = &mut followed.tail {
                self.tail_bytes -= tail.bytes();
                tail.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests;
