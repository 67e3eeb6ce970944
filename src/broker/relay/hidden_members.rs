//! Members that an edge has told of and that no list has, since no good token of their users counts: until one is shown again. Without I/O.
//!
//! Never tells. Bounded by its owner, among whose members these count (`edge_members`). Always holds: a member is here or shown, never both; here it
//! is once, with the user that was named last.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::model::{Member, Room};

/// What one entry takes beside its texts, among those that are shown and among those of all writers
/// ([`MemberClaims`](super::member_claims::MemberClaims)).
pub(super) const ENTRY: usize = 256;

/// What one takes here, where it is found by its place and by its user.
const HIDDEN_ENTRY: usize = ENTRY + 128;

/// A member's room and connection.
pub(super) type MemberPlace = (Room, Arc<str>);

/// The members of one edge that are hidden.
#[derive(Default)]
pub(super) struct HiddenMembers {
    /// The user of each, and the round of telling in which it was named.
    members: HashMap<MemberPlace, (Arc<str>, u64)>,
    users: HashMap<Arc<str>, HashSet<MemberPlace>>,
    bytes: usize,
}

fn cost(user: &str, room: &Room, connection: &str) -> usize {
    HIDDEN_ENTRY + user.len() + room.as_str().len() + connection.len()
}

impl HiddenMembers {
    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What another one would take.
    pub(super) fn cost_of(room: &Room, member: &Member) -> usize {
        cost(member.user.as_deref().unwrap_or_default(), room, &member.connection)
    }

    /// Hides a member, instead of one of the same connection; one that has no user is never hidden.
    pub(super) fn hide(&mut self, room: &Room, member: &Member, round: u64) {
        let Some(user) = &member.user else { return };
        let place = (room.clone(), Arc::clone(&member.connection));
        self.remove(&place);
        self.users.entry(Arc::clone(user)).or_default().insert(place.clone());
        self.members.insert(place, (Arc::clone(user), round));
        self.bytes += Self::cost_of(room, member);
    }

    /// The member is hidden no more, under whatever user it was. Whether it was.
    pub(super) fn remove(&mut self, place: &MemberPlace) -> bool {
        let Some((user, _)) = self.members.remove(place) else { return false };
        self.bytes -= cost(&user, &place.0, &place.1);
        if let Some(of_user) = self.users.get_mut(&user) {
            of_user.remove(place);
            if of_user.is_empty() {
                self.users.remove(&user);
            }
        }
        true
    }

    /// Takes out members of a user, so many at most, each with its round.
    pub(super) fn take(&mut self, user: &str, most: usize) -> Vec<(Room, Arc<str>, u64)> {
        let of_user: Vec<_> = self.users.get(user).into_iter().flatten().take(most).cloned().collect();
        let take = |place: MemberPlace| {
            let round = self.members.get(&place)?.1;
            self.remove(&place);
            Some((place.0, place.1, round))
        };
        of_user.into_iter().filter_map(take).collect()
    }

    /// All of them, and the round in which each was named.
    pub(super) fn places(&self) -> impl Iterator<Item = (&MemberPlace, u64)> {
        self.members.iter().map(|(place, (_, round))| (place, *round))
    }

    /// The round in which one was named.
    pub(super) fn round_of(&self, place: &MemberPlace) -> Option<u64> {
        self.members.get(place).map(|(_, round)| *round)
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
        assert_eq!((hidden.members.len(), hidden.bytes()), (3, 2 * cost(&a, "c1", "ann") + cost(&a, "c2", "bob")));
        let place = |room: &Room, connection: &str| (room.clone(), connection.into());
        assert!(!hidden.remove(&place(&b, "c2")) && hidden.take("carol", 9).is_empty());
        let old: Vec<_> = hidden.places().filter(|(_, round)| *round < 2).map(|(place, _)| place.clone()).collect();
        assert!(old.iter().all(|place| hidden.round_of(place) == Some(1) && hidden.remove(place)));
        assert_eq!((hidden.members.len(), hidden.round_of(&place(&a, "c1"))), (1, None));
        hidden.hide(&a, &member("c3", "ann"), 2);
        assert!(hidden.remove(&place(&a, "c3")));
        hidden.hide(&a, &member("c4", "ann"), 2);
        hidden.hide(&a, &member("c4", "bob"), 2);
        assert_eq!(hidden.take("ann", 9), [(b, "c1".into(), 2)], "the other one is another user's now");
        assert_eq!(hidden.take("bob", 9), [(a, "c4".into(), 2)]);
        assert_eq!((hidden.members.len(), hidden.bytes(), hidden.users.len()), (0, 0, 0));
    }
}
