//! The rooms that a worker has, by index and by name.
//!
//! Always holds: a room that is here is found by its name, an index that is in use leads to a room, and the rooms with members are
//! counted as they come and go: nothing walks all rooms to know how many there are.

use std::{
    collections::{HashMap, VecDeque},
    ops::{Index, IndexMut},
    time::Instant,
};

use slab::Slab;

use crate::{
    hub::fanout::{room::LocalRoom, room_index::RoomIndex},
    model::{Position, Room},
};

/// The rooms of one worker.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: Slab<LocalRoom>,
    names: HashMap<Room, RoomIndex>,
    /// Rooms with members.
    occupied: usize,
    /// Rooms whose last member has left, and when.
    emptied: VecDeque<(Instant, RoomIndex)>,
    /// Rooms whose sequencer's queue was full.
    pub(crate) to_ask_again: Vec<RoomIndex>,
}

impl Rooms {
    /// The most places that may stay empty.
    const KEPT_EMPTY: usize = 1_024;

    /// The room of a name.
    #[must_use]
    pub fn find(&self, name: &Room) -> Option<RoomIndex> {
        self.names.get(name).copied()
    }

    /// One room.
    #[inline]
    #[must_use]
    pub fn get(&self, index: RoomIndex) -> Option<&LocalRoom> {
        self.rooms.get(index.0 as usize)
    }

    /// One room, to be changed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, index: RoomIndex) -> Option<&mut LocalRoom> {
        self.rooms.get_mut(index.0 as usize)
    }

    /// Whether there is such a room.
    #[must_use]
    pub fn contains(&self, index: RoomIndex) -> bool {
        self.rooms.contains(index.0 as usize)
    }

    /// Adds a room.
    pub fn insert(&mut self, room: LocalRoom) -> RoomIndex {
        let name = room.name.clone();
        // Each room has a member, or had one a moment ago: there are far fewer than 2^32.
        let index = RoomIndex(self.rooms.insert(room) as u32);
        self.names.insert(name, index);
        index
    }

    /// Removes a room.
    pub fn remove(&mut self, index: RoomIndex) {
        if let Some(room) = self.rooms.try_remove(index.0 as usize) {
            self.names.remove(&room.name);
            self.occupied -= usize::from(room.has_members());
        }
    }

    /// Changes which members a room has. Every change goes by here that may be a room's first member or its last one.
    pub fn change_members<T>(&mut self, index: RoomIndex, change: impl FnOnce(&mut LocalRoom) -> T) -> Option<T> {
        let local = self.rooms.get_mut(index.0 as usize)?;
        let before = local.has_members();
        let result = change(local);
        self.occupied = self.occupied + usize::from(local.has_members()) - usize::from(before);
        Some(result)
    }

    /// How many rooms have members.
    #[must_use]
    pub fn occupied(&self) -> usize {
        debug_assert_eq!(self.occupied, self.rooms.iter().filter(|(_, room)| room.has_members()).count());
        self.occupied
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (RoomIndex, &LocalRoom)> {
        self.rooms.iter().map(|(index, room)| (RoomIndex(index as u32), room))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Room> {
        self.names.keys()
    }

    /// The room that has a room's stream: itself, or the one whose log it shares.
    #[must_use]
    pub fn stream_of(&self, index: RoomIndex) -> RoomIndex {
        self.get(index).and_then(LocalRoom::shares).unwrap_or(index)
    }

    /// Where a room's stream stands.
    #[must_use]
    pub fn position_of(&self, index: RoomIndex) -> Option<&Position> {
        self.get(self.stream_of(index))?.stream()?.position()
    }

    /// Whether a room has neither members nor pending joins.
    #[must_use]
    pub fn is_idle(&self, index: RoomIndex) -> bool {
        let Some(local) = self.get(index) else { return false };
        let log = local.shares().and_then(|log| self.get(log)).and_then(LocalRoom::stream);
        local.is_idle() && !log.is_some_and(|log| log.is_joined(index))
    }

    /// Notes a room that is idle, to be given up when it has lingered.
    pub fn note_if_empty(&mut self, index: RoomIndex, now: Instant) {
        let idle = self.is_idle(index);
        let Some(local) = self.get_mut(index) else { return };
        if idle && local.empty_since.is_none() {
            local.empty_since = Some(now);
            self.emptied.push_back((now, index));
        }
    }

    /// The room that was noted first, if that was at `until` or before, or more than `most` are noted, and has been empty ever since.
    pub fn next_emptied(&mut self, until: Instant, most: usize) -> Option<RoomIndex> {
        while let Some(&(since, index)) = self.emptied.front()
            && (since <= until || self.emptied.len() > most)
        {
            self.emptied.pop_front();
            if self.get(index).is_some_and(|local| local.empty_since == Some(since)) {
                return Some(index);
            }
        }
        None
    }

    /// Gives back the memory of many rooms once all of them are gone.
    pub fn shrink_when_empty(&mut self) {
        if self.rooms.is_empty() && self.rooms.capacity() > Self::KEPT_EMPTY {
            self.rooms.shrink_to_fit();
            self.names.shrink_to_fit();
        }
    }
}

impl Index<RoomIndex> for Rooms {
    type Output = LocalRoom;

    #[inline]
    fn index(&self, index: RoomIndex) -> &LocalRoom {
        &self.rooms[index.0 as usize]
    }
}

impl IndexMut<RoomIndex> for Rooms {
    #[inline]
    fn index_mut(&mut self, index: RoomIndex) -> &mut LocalRoom {
        &mut self.rooms[index.0 as usize]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        hub::fanout::{room::RoomLog, room_stream::RoomStream},
        model::Policy,
    };

    #[test]
    fn an_empty_room_is_given_up_when_it_has_lingered_or_too_many_linger() {
        let (mut rooms, began) = (Rooms::default(), Instant::now());
        let indices: Vec<_> = (0..4)
            .map(|n| {
                let name = Room::parse(&format!("room:{n}")).unwrap();
                let log = RoomLog::Own(RoomStream::new(name.clone()));
                rooms.insert(LocalRoom::new(name, Arc::new(Policy::default()), log))
            })
            .collect();
        for (&index, second) in indices.iter().zip(1..) {
            rooms.note_if_empty(index, began + Duration::from_secs(second));
        }
        assert_eq!(rooms.next_emptied(began, 4), None);
        assert_eq!(rooms.next_emptied(began + Duration::from_secs(1), 4), Some(indices[0]));
        // A client came back to the next one.
        rooms[indices[1]].empty_since = None;
        assert_eq!(rooms.next_emptied(began, 2), None, "two linger");
        assert_eq!(rooms.next_emptied(began, 1), Some(indices[2]), "one may");
        assert_eq!(rooms.next_emptied(began, 1), None);
    }
}
