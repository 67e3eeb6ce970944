//! This edge's members, so that a home can be told of all of them. Without I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::{Member, Room};

/// The members of each room.
#[derive(Debug, Default)]
pub(super) struct OwnMembers(Mutex<HashMap<Room, HashMap<Arc<str>, Member>>>);

impl OwnMembers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Room, HashMap<Arc<str>, Member>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member came; `tell` is called in the order of comings and goings. A repeated join is told of no more.
    pub(super) fn join(&self, room: &Room, member: &Member, tell: impl FnOnce()) {
        let mut rooms = self.lock();
        let members = rooms.entry(room.clone()).or_default();
        if members.insert(Arc::clone(&member.connection), member.clone()).as_ref() != Some(member) {
            tell();
        }
    }

    /// A member went.
    pub(super) fn leave(&self, room: &Room, member: &Member, tell: impl FnOnce()) {
        let mut rooms = self.lock();
        let Some(members) = rooms.get_mut(room) else { return };
        let was = members.remove(&member.connection).is_some();
        if members.is_empty() {
            rooms.remove(room);
        }
        if was {
            tell();
        }
    }

    /// Tells of all of them, while none comes or goes.
    pub(super) fn tell_all(&self, mut tell: impl FnMut(&Room, &Member)) {
        let rooms = self.lock();
        for (room, members) in rooms.iter() {
            members.values().for_each(|member| tell(room, member));
        }
    }
}
