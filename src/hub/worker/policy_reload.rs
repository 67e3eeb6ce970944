//! How a reloaded policy reaches the rooms that are held: a slice of them at a time, because there may be very many.
//!
//! Always holds: a member stays in its room; a new policy's rules for joining hold for later joins.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::Policies,
    hub::{Sequencer, Worker},
    model::{PresenceMode, Room},
};

/// How long a slice may take.
const SLICE: Duration = Duration::from_millis(1);

/// How many rooms are looked at between two looks at the clock.
const STRIDE: usize = 64;

/// Rooms whose policy is still to be looked at.
#[derive(Debug, Default)]
pub struct PolicyReload {
    /// The policies that are applied, or were.
    seen: Option<Arc<Policies>>,
    rooms: Vec<Room>,
}

impl PolicyReload {
    /// Begins anew if the policies have changed. `rooms` are those that are held now.
    fn begin<'a>(&mut self, now: &Arc<Policies>, rooms: impl Iterator<Item = &'a Room>) {
        match &self.seen {
            Some(seen) if Arc::ptr_eq(seen, now) => return,
            // What is held at first was held under these.
            None => {}
            Some(_) => self.rooms = rooms.cloned().collect(),
        }
        self.seen = Some(Arc::clone(now));
    }

    /// Whether every room has been looked at.
    pub(crate) fn is_done(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The next few rooms; none when all are done or the time is up.
    fn next(&mut self, deadline: Instant) -> Vec<Room> {
        if self.rooms.is_empty() || Instant::now() >= deadline {
            return Vec::new();
        }
        self.rooms.split_off(self.rooms.len().saturating_sub(STRIDE))
    }
}

impl Worker {
    /// Gives held rooms the policies that were reloaded, for one slice.
    pub(crate) fn review_policies(&mut self) {
        let policies = self.services.policies.load_full();
        let deadline = Instant::now() + SLICE;
        self.policy_reload.begin(&policies, self.rooms.names());
        loop {
            let rooms = self.policy_reload.next(deadline);
            if rooms.is_empty() {
                return;
            }
            for room in rooms {
                self.review_policy(&room, &policies);
            }
        }
    }

    fn review_policy(&mut self, room: &Room, policies: &Policies) {
        let policy = policies.of(room);
        let Some(number) = self.rooms.find(room) else { return };
        let Some(local) = self.rooms.get_mut(number) else { return };
        let before = std::mem::replace(&mut local.policy, policy);
        let (had, has) = (before.presence != PresenceMode::Off, local.policy.presence != PresenceMode::Off);
        let priority = (before.priority != local.policy.priority).then_some(local.policy.priority);
        if had == has && priority.is_none() {
            return;
        }
        for key in local.members.groups().iter().flat_map(|group| (0..group.end()).filter_map(|slot| group.at(slot))) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if let Some(priority) = priority {
                connection.set_priority(number, priority);
            }
            if had == has {
                continue;
            }
            let member = connection.session.member();
            if has {
                self.services.presence.join(room, &member);
            } else {
                self.services.presence.leave(room, &member);
            }
        }
    }
}

impl Sequencer {
    /// Gives held rooms the policies that were reloaded, for one slice.
    pub(crate) fn review_policies(&mut self) {
        let policies = self.services.policies.load_full();
        let deadline = Instant::now() + SLICE;
        self.policy_reload.begin(&policies, self.rooms.keys());
        loop {
            let rooms = self.policy_reload.next(deadline);
            if rooms.is_empty() {
                return;
            }
            for room in rooms {
                self.set_policy(&room, policies.of(&room));
            }
        }
    }
}
