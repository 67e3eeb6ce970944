//! What a changed policy changes for the members of a room that is held.
//!
//! Always holds: a member stays in its room; a new policy's rules for joining hold for later joins.

use crate::{
    config::Policies,
    hub::core::Core,
    model::{PresenceMode, Room},
};

impl Core {
    /// Gives a room the policy that these say, and its members what follows from it.
    pub(crate) fn review_policy(&mut self, room: &Room, policies: &Policies) {
        let policy = policies.of(room);
        let Some(index) = self.rooms.find(room) else { return };
        let Some(local) = self.rooms.get_mut(index) else { return };
        let before = std::mem::replace(&mut local.policy, policy);
        let (had, has) = (before.presence != PresenceMode::Off, local.policy.presence != PresenceMode::Off);
        let priority = (before.priority != local.policy.priority).then_some(local.policy.priority);
        if had == has && priority.is_none() {
            return;
        }
        for key in local.members.groups().iter().flat_map(|group| (0..group.end()).filter_map(|slot| group.at(slot))) {
            let Some(connection) = self.clients.connections.get_mut(key) else { continue };
            if let Some(priority) = priority {
                connection.set_priority(index, priority);
            }
            if had == has {
                continue;
            }
            let member = connection.session.member();
            if has {
                self.clients.services.presence.join(room, &member);
            } else {
                self.clients.services.presence.leave(room, &member);
            }
        }
    }
}
