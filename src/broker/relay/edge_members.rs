//! The members that edges have told of, so that they can be taken back when an edge is gone. Without I/O.
//!
//! Always holds: the members of an edge whose link was lost stay for [`GRACE`], so that a short cut is not told; those that it does not name
//! when it comes back are taken back then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::{Member, Room};

/// For how long the members of an edge without a link stay.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The most members of one edge that are kept; of those beyond it no list tells.
const MOST: usize = 500_000;

struct KnownMember {
    user: Option<Arc<str>>,
    /// The round of telling in which it was named.
    round: u64,
}

#[derive(Default)]
struct EdgeRooms {
    rooms: HashMap<Room, HashMap<Arc<str>, KnownMember>>,
    count: usize,
    /// The link over which they are told; `None`, since then: it was lost.
    link: Option<u64>,
    lost: Option<Instant>,
    round: u64,
}

/// The members of each edge, by the edge's name.
#[derive(Default)]
pub(super) struct EdgeMembers(Mutex<HashMap<String, EdgeRooms>>);

impl EdgeMembers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, EdgeRooms>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An edge begins to tell all of its members over a link.
    pub(super) fn begin(&self, edge: &str, link: u64) {
        let mut edges = self.lock();
        let known = edges.entry(edge.to_owned()).or_default();
        known.round += 1;
        (known.link, known.lost) = (Some(link), None);
    }

    /// It has told all: those that it did not name are gone.
    pub(super) fn told_all(&self, edge: &str, link: u64) -> Vec<(Room, Member)> {
        let mut edges = self.lock();
        let Some(known) = edges.get_mut(edge).filter(|known| known.link == Some(link)) else { return Vec::new() };
        let round = known.round;
        let mut gone = Vec::new();
        known.rooms.retain(|room, members| {
            members.retain(|connection, known| {
                if known.round < round {
                    gone.push((room.clone(), Member { connection: Arc::clone(connection), user: known.user.clone() }));
                }
                known.round >= round
            });
            !members.is_empty()
        });
        known.count -= gone.len();
        gone
    }

    /// A member came. `false`: it is not to be told of.
    pub(super) fn join(&self, edge: &str, link: u64, room: &Room, member: &Member) -> bool {
        let mut edges = self.lock();
        let Some(known) = edges.get_mut(edge).filter(|known| known.link == Some(link)) else { return false };
        let round = known.round;
        let members = known.rooms.entry(room.clone()).or_default();
        let is_new = !members.contains_key(&member.connection);
        if is_new && known.count >= MOST {
            if members.is_empty() {
                known.rooms.remove(room);
            }
            return false;
        }
        known.count += usize::from(is_new);
        members.insert(Arc::clone(&member.connection), KnownMember { user: member.user.clone(), round });
        true
    }

    /// A member went. `false`: it was not known.
    pub(super) fn leave(&self, edge: &str, link: u64, room: &Room, member: &Member) -> bool {
        let mut edges = self.lock();
        let Some(known) = edges.get_mut(edge).filter(|known| known.link == Some(link)) else { return false };
        let Some(members) = known.rooms.get_mut(room) else { return false };
        let was = members.remove(&member.connection).is_some();
        if members.is_empty() {
            known.rooms.remove(room);
        }
        known.count -= usize::from(was);
        was
    }

    /// An edge's link was lost.
    pub(super) fn lost(&self, edge: &str, link: u64, now: Instant) {
        if let Some(known) = self.lock().get_mut(edge).filter(|known| known.link == Some(link)) {
            (known.link, known.lost) = (None, Some(now));
        }
    }

    /// Takes back all members of an edge that tells of them elsewhere from now on.
    pub(super) fn end(&self, edge: &str, link: u64) -> Vec<(Room, Member)> {
        let mut edges = self.lock();
        if edges.get(edge).is_none_or(|known| known.link != Some(link)) {
            return Vec::new();
        }
        edges.remove(edge).map(members_of).unwrap_or_default()
    }

    /// Takes back the members of edges whose links were lost too long ago.
    pub(super) fn sweep(&self, now: Instant) -> Vec<(Room, Member)> {
        let mut edges = self.lock();
        let is_over = |known: &EdgeRooms| known.lost.is_some_and(|lost| now.duration_since(lost) >= GRACE);
        let over: Vec<String> =
            edges.iter().filter(|(_, known)| is_over(known)).map(|(edge, _)| edge.clone()).collect();
        over.iter().filter_map(|edge| edges.remove(edge)).flat_map(members_of).collect()
    }
}

fn members_of(known: EdgeRooms) -> Vec<(Room, Member)> {
    let of_room = |(room, members): (Room, HashMap<Arc<str>, KnownMember>)| {
        members.into_iter().map(move |(connection, known)| (room.clone(), Member { connection, user: known.user }))
    };
    known.rooms.into_iter().flat_map(of_room).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn member(connection: &str) -> Member {
        Member { connection: connection.into(), user: None }
    }

    #[test]
    fn a_short_cut_takes_no_member_back() {
        let (edges, room, now) = (EdgeMembers::default(), Room::parse("a").unwrap(), Instant::now());
        edges.begin("e", 1);
        assert!(edges.join("e", 1, &room, &member("c1")) && edges.join("e", 1, &room, &member("c2")));
        assert!(!edges.join("e", 2, &room, &member("c3")), "that link does not tell of members");
        edges.lost("e", 1, now);
        assert!(edges.sweep(now + GRACE / 2).is_empty());
        edges.begin("e", 2);
        edges.lost("e", 1, now);
        assert!(edges.join("e", 2, &room, &member("c2")));
        let gone: Vec<_> = edges.told_all("e", 2).into_iter().map(|(_, member)| member).collect();
        assert_eq!(gone, [member("c1")]);
        assert!(edges.sweep(now + 2 * GRACE).is_empty());
        edges.lost("e", 2, now);
        assert_eq!(edges.sweep(now + GRACE), [(room, member("c2"))]);
        assert!(edges.sweep(now + 2 * GRACE).is_empty());
    }

    #[test]
    fn an_edge_that_tells_elsewhere_has_no_members_here() {
        let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
        edges.begin("e", 1);
        assert!(edges.join("e", 1, &room, &member("c1")));
        assert!(edges.leave("e", 1, &room, &member("c1")) && !edges.leave("e", 1, &room, &member("c1")));
        assert!(edges.join("e", 1, &room, &member("c1")));
        assert!(edges.end("e", 9).is_empty());
        assert_eq!(edges.end("e", 1), [(room, member("c1"))]);
    }
}
