//! Members that an edge has told of and that no list has, since no good token of their users counts: until one is shown again. Without I/O.
//!
//! Never tells. Bounded by its owner, among whose members these count (`edge_members`). Always holds: a member is here or shown, never both.

use std::{collections::HashMap, sync::Arc};

use crate::model::{Member, Room};

/// What one entry takes beside its texts, here, among those that are shown and among those of all writers
/// ([`MemberClaims`](super::member_claims::MemberClaims)).
pub(super) const ENTRY: usize = 256;

/// The members of one user, and the round of telling in which each was named.
type HiddenOfUser = HashMap<(Room, Arc<str>), u64>;

/// The members of one edge that are hidden, by user.
#[derive(Default)]
pub(super) struct HiddenMembers {
    users: HashMap<Arc<str>, HiddenOfUser>,
    count: usize,
    bytes: usize,
}

fn cost(user: &str, room: &Room, connection: &str) -> usize {
    ENTRY + user.len() + room.as_str().len() + connection.len()
}

impl HiddenMembers {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What another one would take.
    pub(super) fn cost_of(room: &Room, member: &Member) -> usize {
        cost(member.user.as_deref().unwrap_or_default(), room, &member.connection)
    }

    /// Hides a member; one that has no user is never hidden.
    pub(super) fn hide(&mut self, room: &Room, member: &Member, round: u64) {
        let Some(user) = &member.user else { return };
        let of_user = self.users.entry(Arc::clone(user)).or_default();
        if of_user.insert((room.clone(), Arc::clone(&member.connection)), round).is_none() {
            self.count += 1;
            self.bytes += Self::cost_of(room, member);
        }
    }

    /// It is hidden no more. Whether it was.
    pub(super) fn remove(&mut self, room: &Room, member: &Member) -> bool {
        let Some(user) = &member.user else { return false };
        let Some(of_user) = self.users.get_mut(user) else { return false };
        let was_hidden = of_user.remove(&(room.clone(), Arc::clone(&member.connection))).is_some();
        if was_hidden {
            self.count -= 1;
            self.bytes -= Self::cost_of(room, member);
        }
        if of_user.is_empty() {
            self.users.remove(user);
        }
        was_hidden
    }

    /// Takes out the members of a user, each with its round.
    pub(super) fn take(&mut self, user: &str) -> Vec<(Room, Arc<str>, u64)> {
        let of_user = self.users.remove(user).unwrap_or_default();
        self.count -= of_user.len();
        self.bytes -= of_user.keys().map(|(room, connection)| cost(user, room, connection)).sum::<usize>();
        of_user.into_iter().map(|((room, connection), round)| (room, connection, round)).collect()
    }

    /// Forgets those that were not named in that round.
    pub(super) fn forget_before(&mut self, round: u64) {
        let Self { users, count, bytes } = self;
        users.retain(|user, of_user| {
            of_user.retain(|(room, connection), named| {
                let stays = *named >= round;
                if !stays {
                    *count -= 1;
                    *bytes -= cost(user, room, connection);
                }
                stays
            });
            !of_user.is_empty()
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_with_their_user_and_nothing_of_them_is_left() {
        let mut hidden = HiddenMembers::default();
        let [a, b] = ["a", "b"].map(|name| Room::parse(name).unwrap());
        let member = |connection: &str, user: &str| Member { connection: connection.into(), user: Some(user.into()) };
        hidden.hide(&a, &Member { connection: "c0".into(), user: None }, 1);
        for (room, connection, user, round) in [(&a, "c1", "ann", 1), (&b, "c1", "ann", 2), (&a, "c2", "bob", 1)] {
            hidden.hide(room, &member(connection, user), round);
            hidden.hide(room, &member(connection, user), round);
        }
        let cost = |room: &Room, connection, user| HiddenMembers::cost_of(room, &member(connection, user));
        assert_eq!((hidden.count(), hidden.bytes()), (3, 2 * cost(&a, "c1", "ann") + cost(&a, "c2", "bob")));
        assert!(!hidden.remove(&a, &member("c1", "bob")) && hidden.take("carol").is_empty());
        hidden.forget_before(2);
        assert_eq!(hidden.count(), 1);
        hidden.hide(&a, &member("c3", "ann"), 2);
        assert!(hidden.remove(&a, &member("c3", "ann")));
        assert_eq!(hidden.take("ann"), [(b, "c1".into(), 2)]);
        assert_eq!((hidden.count(), hidden.bytes(), hidden.users.len()), (0, 0, 0));
    }
}
