//! The rooms that a worker has, by number and by name.
//!
//! Always holds: a room that is here is found by its name, and a number that is in use leads to a room.

use std::{
    collections::HashMap,
    ops::{Index, IndexMut},
};

use slab::Slab;

use crate::{
    hub::fanout::{room::LocalRoom, room_index::RoomIndex},
    model::Room,
};

/// The rooms of one worker.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: Slab<LocalRoom>,
    names: HashMap<Room, RoomIndex>,
}

impl Rooms {
    /// So many places may stay empty.
    const KEPT_EMPTY: usize = 1_024;

    /// Where a room of this name is.
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

    /// Takes a room in.
    pub fn insert(&mut self, room: LocalRoom) -> RoomIndex {
        let name = room.name.clone();
        // Each room has a member, or had one a moment ago: there are far fewer than 2^32.
        let index = RoomIndex(self.rooms.insert(room) as u32);
        self.names.insert(name, index);
        index
    }

    /// Gives a room up.
    pub fn remove(&mut self, index: RoomIndex) {
        if let Some(room) = self.rooms.try_remove(index.0 as usize) {
            self.names.remove(&room.name);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (RoomIndex, &LocalRoom)> {
        self.rooms.iter().map(|(index, room)| (RoomIndex(index as u32), room))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Room> {
        self.names.keys()
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
