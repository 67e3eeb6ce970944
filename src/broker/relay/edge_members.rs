//! The members that edges have told of, so that they can be taken back when an edge is gone. Without I/O.
//!
//! Always holds: the members of an edge whose link was lost stay for [`GRACE`], so that a short cut is not told; those that it does not name
//! when it comes back are taken back then. Bounded: [`MOST`] members of one edge and [`MOST_BYTES`] for them; the members of all edges by what
//! the pod's queues may hold.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::{Member, Room};

/// For how long the members of an edge without a link stay.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The most members of one edge that are kept; of those beyond it no list tells.
const MOST: usize = 500_000;

/// The most bytes that the members of one edge take.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// What one entry takes beside its texts, here and among those of all writers ([`MemberClaims`](super::member_claims::MemberClaims)).
const ENTRY: usize = 256;

fn length(user: Option<&Arc<str>>) -> usize {
    user.map_or(0, |user| user.len())
}

fn cost(member: &Member) -> usize {
    ENTRY + member.connection.len() + length(member.user.as_ref())
}

fn room_cost(room: &Room) -> usize {
    ENTRY + room.as_str().len()
}

struct KnownMember {
    user: Option<Arc<str>>,
    /// The round of telling in which it was named.
    round: u64,
}

#[derive(Default)]
struct EdgeRooms {
    rooms: HashMap<Room, HashMap<Arc<str>, KnownMember>>,
    count: usize,
    bytes: usize,
    /// The link over which they are told; `None`, since then: it was lost.
    link: Option<u64>,
    lost: Option<Instant>,
    round: u64,
}

impl EdgeRooms {
    /// Recounts what is left.
    fn recount(&mut self) {
        let members = self.rooms.values().flat_map(HashMap::iter);
        let of =
            |(connection, known): (&Arc<str>, &KnownMember)| ENTRY + connection.len() + length(known.user.as_ref());
        self.count = self.rooms.values().map(HashMap::len).sum();
        self.bytes = self.rooms.keys().map(room_cost).sum::<usize>() + members.map(of).sum::<usize>();
    }
}

#[derive(Default)]
struct KnownEdges {
    edges: HashMap<String, EdgeRooms>,
    /// What all of them take.
    bytes: usize,
}

impl KnownEdges {
    /// The edge, if it tells of its members over that link.
    fn over(&mut self, edge: &str, link: u64) -> Option<&mut EdgeRooms> {
        self.edges.get_mut(edge).filter(|known| known.link == Some(link))
    }

    /// Takes an edge's members out.
    fn remove(&mut self, edge: &str) -> Vec<(Room, Member)> {
        let Some(known) = self.edges.remove(edge) else { return Vec::new() };
        self.bytes -= known.bytes;
        members_of(known)
    }
}

/// The members of each edge, by the edge's name.
#[derive(Default)]
pub(super) struct EdgeMembers(Mutex<KnownEdges>);

/// What became of a member that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinOutcome {
    /// It is to be told of.
    Known,
    /// It was told over a link that does not tell of members.
    Elsewhere,
    /// There is no place for it.
    Full,
}

impl EdgeMembers {
    fn lock(&self) -> MutexGuard<'_, KnownEdges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An edge begins to tell all of its members over a link.
    pub(super) fn begin(&self, edge: &str, link: u64) {
        let mut all = self.lock();
        let known = all.edges.entry(edge.to_owned()).or_default();
        known.round += 1;
        (known.link, known.lost) = (Some(link), None);
    }

    /// It has told all: those that it did not name are gone.
    pub(super) fn told_all(&self, edge: &str, link: u64) -> Vec<(Room, Member)> {
        let mut all = self.lock();
        let Some(known) = all.over(edge, link) else { return Vec::new() };
        let (round, before) = (known.round, known.bytes);
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
        known.recount();
        let freed = before - known.bytes;
        all.bytes -= freed;
        gone
    }

    /// A member came. `most`: the bytes that the members of all edges may take.
    pub(super) fn join(&self, edge: &str, link: u64, room: &Room, member: &Member, most: usize) -> JoinOutcome {
        let mut all = self.lock();
        let left = most.saturating_sub(all.bytes);
        let Some(known) = all.over(edge, link) else { return JoinOutcome::Elsewhere };
        let (round, taken) = (known.round, known.bytes);
        let before = known.rooms.get(room).and_then(|members| members.get(&member.connection));
        // One that is known may have another user by now.
        let freed = before.map_or(0, |before| ENTRY + member.connection.len() + length(before.user.as_ref()));
        let is_new = before.is_none();
        let added = cost(member) + if known.rooms.contains_key(room) { 0 } else { room_cost(room) };
        let is_full = known.bytes + added > MOST_BYTES + freed || added > left + freed;
        if is_full || (is_new && known.count >= MOST) {
            return JoinOutcome::Full;
        }
        let user = member.user.clone();
        known
            .rooms
            .entry(room.clone())
            .or_default()
            .insert(Arc::clone(&member.connection), KnownMember { user, round });
        known.count += usize::from(is_new);
        known.bytes = known.bytes + added - freed;
        let now = known.bytes;
        all.bytes = all.bytes + now - taken;
        JoinOutcome::Known
    }

    /// A member went. `false`: it was not known.
    pub(super) fn leave(&self, edge: &str, link: u64, room: &Room, member: &Member) -> bool {
        let mut all = self.lock();
        let Some(known) = all.over(edge, link) else { return false };
        let Some(members) = known.rooms.get_mut(room) else { return false };
        let Some(was) = members.remove(&member.connection) else { return false };
        let mut freed = cost(&Member { connection: Arc::clone(&member.connection), user: was.user });
        if members.is_empty() {
            known.rooms.remove(room);
            freed += room_cost(room);
        }
        known.count -= 1;
        known.bytes -= freed;
        all.bytes -= freed;
        true
    }

    /// Takes back the members of users in whose names an edge may not act any more.
    pub(super) fn without(&self, edge: &str, link: u64, users: &HashSet<Arc<str>>) -> Vec<(Room, Member)> {
        let mut all = self.lock();
        let Some(known) = all.over(edge, link) else { return Vec::new() };
        let before = known.bytes;
        let goes = |user: &Option<Arc<str>>| user.as_ref().is_some_and(|user| users.contains(user));
        let mut gone = Vec::new();
        known.rooms.retain(|room, members| {
            members.retain(|connection, known| {
                let goes = goes(&known.user);
                if goes {
                    gone.push((room.clone(), Member { connection: Arc::clone(connection), user: known.user.clone() }));
                }
                !goes
            });
            !members.is_empty()
        });
        known.recount();
        let freed = before - known.bytes;
        all.bytes -= freed;
        gone
    }

    /// An edge's link was lost.
    pub(super) fn lost(&self, edge: &str, link: u64, now: Instant) {
        if let Some(known) = self.lock().over(edge, link) {
            (known.link, known.lost) = (None, Some(now));
        }
    }

    /// Takes back all members of an edge that tells of them elsewhere from now on.
    pub(super) fn end(&self, edge: &str, link: u64) -> Vec<(Room, Member)> {
        let mut all = self.lock();
        if all.over(edge, link).is_none() {
            return Vec::new();
        }
        all.remove(edge)
    }

    /// Takes back the members of edges whose links were lost too long ago, by edge.
    pub(super) fn sweep(&self, now: Instant) -> Vec<(String, Vec<(Room, Member)>)> {
        let mut all = self.lock();
        let is_over = |known: &EdgeRooms| known.lost.is_some_and(|lost| now.duration_since(lost) >= GRACE);
        let over: Vec<String> =
            all.edges.iter().filter(|(_, known)| is_over(known)).map(|(edge, _)| edge.clone()).collect();
        let members = |edge: String| {
            let gone = all.remove(&edge);
            (edge, gone)
        };
        over.into_iter().map(members).collect()
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

    impl EdgeMembers {
        fn joins(&self, edge: &str, link: u64, room: &Room, member: &Member) -> bool {
            self.join(edge, link, room, member, usize::MAX) == JoinOutcome::Known
        }

        fn bytes(&self) -> usize {
            let all = self.lock();
            assert_eq!(all.edges.values().map(|known| known.bytes).sum::<usize>(), all.bytes);
            all.bytes
        }
    }

    #[test]
    fn the_members_of_all_edges_have_a_bound_in_bytes() {
        let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
        edges.begin("e", 1);
        edges.begin("f", 2);
        let long = |n: u8| Member { connection: format!("c{n}").into(), user: Some("u".repeat(255).into()) };
        let most = 3 * cost(&long(1)) + 2 * room_cost(&room);
        let join = |edge: &str, link, n| edges.join(edge, link, &room, &long(n), most);
        assert_eq!([join("e", 1, 1), join("e", 1, 2), join("f", 2, 1)], [JoinOutcome::Known; 3]);
        assert_eq!((join("f", 2, 2), edges.bytes()), (JoinOutcome::Full, most));
        assert_eq!(join("e", 1, 1), JoinOutcome::Known, "it is known already");
        assert!(edges.leave("e", 1, &room, &long(2)));
        assert_eq!(join("f", 2, 2), JoinOutcome::Known);
        let short = Member { connection: "c1".into(), user: None };
        assert!(edges.joins("e", 1, &room, &short) && edges.bytes() == most - 255);
        assert!(edges.joins("f", 2, &room, &member("c3")));
        assert_eq!((join("e", 1, 1), edges.bytes()), (JoinOutcome::Full, most - 255 + ENTRY + 2), "with a longer name");
        assert!(edges.leave("f", 2, &room, &member("c3")));
        // Whatever goes, nothing of it is left.
        edges.begin("e", 3);
        assert_eq!(edges.told_all("e", 3).len(), 1);
        assert_eq!(edges.end("f", 2).len(), 2);
        assert_eq!(edges.bytes(), 0);
    }

    #[test]
    fn a_short_cut_takes_no_member_back() {
        let (edges, room, now) = (EdgeMembers::default(), Room::parse("a").unwrap(), Instant::now());
        edges.begin("e", 1);
        assert!(edges.joins("e", 1, &room, &member("c1")) && edges.joins("e", 1, &room, &member("c2")));
        assert!(!edges.joins("e", 2, &room, &member("c3")), "that link does not tell of members");
        edges.lost("e", 1, now);
        assert!(edges.sweep(now + GRACE / 2).is_empty());
        edges.begin("e", 2);
        edges.lost("e", 1, now);
        assert!(edges.joins("e", 2, &room, &member("c2")));
        let gone: Vec<_> = edges.told_all("e", 2).into_iter().map(|(_, member)| member).collect();
        assert_eq!(gone, [member("c1")]);
        assert!(edges.sweep(now + 2 * GRACE).is_empty());
        edges.lost("e", 2, now);
        assert_eq!(edges.sweep(now + GRACE), [("e".to_owned(), vec![(room, member("c2"))])]);
        assert!(edges.sweep(now + 2 * GRACE).is_empty());
    }

    #[test]
    fn members_go_whose_users_an_edge_may_not_act_for() {
        let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
        let of = |user: Option<&str>, n: u8| Member { connection: format!("c{n}").into(), user: user.map(Into::into) };
        edges.begin("e", 1);
        for (n, user) in [(1, Some("ann")), (2, Some("bob")), (3, None)] {
            assert!(edges.joins("e", 1, &room, &of(user, n)));
        }
        let (ann, before) = (HashSet::from(["ann".into()]), edges.bytes());
        assert!(edges.without("e", 2, &ann).is_empty(), "over another link");
        assert_eq!(edges.without("e", 1, &ann), [(room.clone(), of(Some("ann"), 1))]);
        assert!(edges.without("e", 1, &ann).is_empty() && edges.bytes() < before);
        assert!(!edges.leave("e", 1, &room, &of(Some("ann"), 1)) && edges.leave("e", 1, &room, &of(None, 3)));
        assert_eq!(edges.end("e", 1).len(), 1);
        assert_eq!(edges.bytes(), 0);
    }

    #[test]
    fn an_edge_that_tells_elsewhere_has_no_members_here() {
        let (edges, room) = (EdgeMembers::default(), Room::parse("a").unwrap());
        edges.begin("e", 1);
        assert!(edges.joins("e", 1, &room, &member("c1")));
        assert!(edges.leave("e", 1, &room, &member("c1")) && !edges.leave("e", 1, &room, &member("c1")));
        assert!(edges.joins("e", 1, &room, &member("c1")));
        assert!(edges.end("e", 9).is_empty());
        assert_eq!(edges.end("e", 1), [(room, member("c1"))]);
    }
}
