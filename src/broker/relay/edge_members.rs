//! The members that edges have told of, so that they can be taken back when an edge is gone. Without I/O.
//!
//! Always holds: the members of an edge whose link was lost stay for [`GRACE`](super::member_departure::GRACE), so that a short cut is not told; those that it does not name
//! when it comes back are taken back then; a member of whose user no good token counts is shown once one does ([`HiddenMembers`]). Bounded:
//! [`MOST`] members of one edge and [`MOST_BYTES`] for them; the members of all edges by what the pod's queues may hold.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    hidden_members::{ENTRY, HiddenMembers, MemberPlace},
    member_departure::MemberDeparture,
};
use crate::model::{Member, Room};

/// The most members of one edge that are kept; of those beyond it no list tells.
const MOST: usize = 500_000;

/// The most bytes that the members of one edge take.
const MOST_BYTES: usize = 128 * 1024 * 1024;

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
    hidden: HiddenMembers,
    /// The hidden ones, too.
    count: usize,
    bytes: usize,
    /// The link over which they are told; `None`, since then: it was lost.
    link: Option<u64>,
    lost: Option<Instant>,
    round: u64,
    /// Whether all were told in this round: they are looked through once.
    is_told: bool,
}

impl EdgeRooms {
    /// Puts in a member that is not there.
    fn insert(&mut self, room: &Room, member: &Member, round: u64) {
        let members = self.rooms.entry(room.clone()).or_default();
        self.bytes += cost(member) + if members.is_empty() { room_cost(room) } else { 0 };
        self.count += 1;
        members.insert(Arc::clone(&member.connection), KnownMember { user: member.user.clone(), round });
    }

    /// A connection is hidden no more. Whether it was.
    fn unhide(&mut self, room: &Room, connection: &Arc<str>) -> bool {
        let before = self.hidden.bytes();
        let was_hidden = self.hidden.remove(&(room.clone(), Arc::clone(connection)));
        self.count -= usize::from(was_hidden);
        self.bytes -= before - self.hidden.bytes();
        was_hidden
    }

    /// The member, if it is shown.
    fn shown(&self, room: &Room, connection: &str) -> Option<&KnownMember> {
        self.rooms.get(room)?.get(connection)
    }

    /// A member is shown no more. Whether it was.
    fn take_out(&mut self, room: &Room, connection: &Arc<str>) -> bool {
        let Some(members) = self.rooms.get_mut(room) else { return false };
        let Some(was) = members.remove(connection) else { return false };
        self.bytes -= cost(&Member { connection: Arc::clone(connection), user: was.user });
        if members.is_empty() {
            self.rooms.remove(room);
            self.bytes -= room_cost(room);
        }
        self.count -= 1;
        true
    }

    /// Hides a member that is not shown, if there is place for it among those of its edge.
    fn hide(&mut self, room: &Room, member: &Member, round: u64) -> bool {
        let added = HiddenMembers::cost_of(room, member);
        let has_place = self.count < MOST && self.bytes + added <= MOST_BYTES;
        if has_place {
            self.hidden.hide(room, member, round);
            (self.count, self.bytes) = (self.count + 1, self.bytes + added);
        }
        has_place
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

    /// Forgets an edge of which nothing is left, where all of it goes.
    fn forget_empty(&mut self, edge: &str, departure: MemberDeparture<'_>) {
        if departure.takes_all() && self.edges.get(edge).is_some_and(|known| known.count == 0) {
            self.edges.remove(edge);
        }
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
    /// No good token of its user counts.
    Hidden,
    /// The same, and it is to be told as gone: it was told of in an earlier round, or with another user. `has_place`: it is kept until a good
    /// token counts.
    Gone { has_place: bool },
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
        (known.link, known.lost, known.is_told) = (Some(link), None, false);
    }

    /// The places of an edge's members that go now. They are taken back by [`EdgeMembers::take`], a part at a time. That an edge has told all
    /// means nothing when it is said again in the same round.
    pub(super) fn leaving(&self, edge: &str, departure: MemberDeparture<'_>) -> Vec<MemberPlace> {
        let mut all = self.lock();
        let Some(known) = all.edges.get_mut(edge).filter(|known| departure.is_now(known.link, known.lost)) else {
            return Vec::new();
        };
        if let MemberDeparture::Unnamed { .. } = departure
            && std::mem::replace(&mut known.is_told, true)
        {
            return Vec::new();
        }
        let now = known.round;
        let shown = known.rooms.iter().flat_map(|(room, members)| {
            let goes =
                move |(_, known): &(&Arc<str>, &KnownMember)| departure.takes(known.user.as_ref(), (known.round, now));
            members.iter().filter(goes).map(move |(connection, _)| (room.clone(), Arc::clone(connection)))
        });
        let hidden = known.hidden.places().filter(|(_, round)| departure.takes_hidden((*round, now)));
        let leaving = shown.chain(hidden.map(|(place, _)| place.clone())).collect();
        all.forget_empty(edge, departure);
        leaving
    }

    /// Takes back what is at these places and still goes. Those that were shown are returned.
    pub(super) fn take(
        &self,
        edge: &str,
        departure: MemberDeparture<'_>,
        places: &[MemberPlace],
    ) -> Vec<(Room, Member)> {
        let mut all = self.lock();
        let Some(known) = all.edges.get_mut(edge).filter(|known| departure.is_now(known.link, known.lost)) else {
            return Vec::new();
        };
        let (before, mut gone) = (known.bytes, Vec::new());
        for place in places {
            let (room, connection) = place;
            let shown = known.shown(room, connection).map(|shown| (shown.user.clone(), shown.round));
            let Some((user, round)) = shown else {
                if known.hidden.round_of(place).is_some_and(|round| departure.takes_hidden((round, known.round))) {
                    known.unhide(room, connection);
                }
                continue;
            };
            if !departure.takes(user.as_ref(), (round, known.round)) {
                continue;
            }
            known.take_out(room, connection);
            let member = Member { connection: Arc::clone(connection), user };
            if departure.hides() {
                // Its own round: one that this round has not named may be gone, and then is forgotten with it.
                known.hide(room, &member, round);
            }
            gone.push((room.clone(), member));
        }
        let now = known.bytes;
        all.bytes = all.bytes + now - before;
        all.forget_empty(edge, departure);
        gone
    }

    /// A member came of whose user no good token counts: it is known once one does. `most`: as for [`EdgeMembers::join`].
    pub(super) fn join_hidden(&self, edge: &str, link: u64, room: &Room, member: &Member, most: usize) -> JoinOutcome {
        let mut all = self.lock();
        let left = most.saturating_sub(all.bytes);
        let Some(known) = all.over(edge, link) else { return JoinOutcome::Elsewhere };
        // Its user's token has ended a moment ago: it goes once it is looked whose have.
        let is_this = |shown: &KnownMember| shown.round == known.round && shown.user == member.user;
        if known.shown(room, &member.connection).is_some_and(is_this) {
            return JoinOutcome::Hidden;
        }
        let (before, added) = (known.bytes, HiddenMembers::cost_of(room, member));
        // What the link before showed, or the user before, does not count for it. Left there, it would go as not named, or stay under another
        // user, and no token would bring it back.
        let was_shown = known.take_out(room, &member.connection);
        known.unhide(room, &member.connection);
        let freed = before - known.bytes;
        let has_place = added <= left + freed && known.hide(room, member, known.round);
        let now = known.bytes;
        all.bytes = all.bytes + now - before;
        match (was_shown, has_place) {
            (true, has_place) => JoinOutcome::Gone { has_place },
            (false, true) => JoinOutcome::Hidden,
            (false, false) => JoinOutcome::Full,
        }
    }

    /// A good token of a user counts: its members that are to be told of, so many of them at most.
    pub(super) fn show(&self, edge: &str, link: u64, user: &Arc<str>, most: usize) -> Vec<(Room, Member)> {
        let mut all = self.lock();
        let Some(known) = all.over(edge, link) else { return Vec::new() };
        let (before, hidden) = (known.bytes, known.hidden.bytes());
        let taken = known.hidden.take(user, most);
        known.count -= taken.len();
        known.bytes -= hidden - known.hidden.bytes();
        let mut shown = Vec::new();
        for (room, connection, round) in taken {
            let member = Member { connection, user: Some(Arc::clone(user)) };
            known.insert(&room, &member, round);
            shown.push((room, member));
        }
        let now = known.bytes;
        all.bytes = all.bytes + now - before;
        shown
    }

    /// A member came. `most`: the bytes that the members of all edges may take.
    pub(super) fn join(&self, edge: &str, link: u64, room: &Room, member: &Member, most: usize) -> JoinOutcome {
        let mut all = self.lock();
        let left = most.saturating_sub(all.bytes);
        let Some(known) = all.over(edge, link) else { return JoinOutcome::Elsewhere };
        let (round, taken) = (known.round, known.bytes);
        known.unhide(room, &member.connection);
        let before = known.rooms.get(room).and_then(|members| members.get(&member.connection));
        // One that is known may have another user by now.
        let freed = before.map_or(0, |before| ENTRY + member.connection.len() + length(before.user.as_ref()));
        let is_new = before.is_none();
        let added = cost(member) + if known.rooms.contains_key(room) { 0 } else { room_cost(room) };
        let is_full = known.bytes + added > MOST_BYTES + freed || added > left + freed;
        if is_full || (is_new && known.count >= MOST) {
            let now = known.bytes;
            all.bytes = all.bytes + now - taken;
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
        let before = known.bytes;
        if known.unhide(room, &member.connection) {
            let freed = before - known.bytes;
            all.bytes -= freed;
            return false;
        }
        let was_shown = known.take_out(room, &member.connection);
        let freed = before - known.bytes;
        all.bytes -= freed;
        was_shown
    }

    /// An edge's link was lost.
    pub(super) fn lost(&self, edge: &str, link: u64, now: Instant) {
        if let Some(known) = self.lock().over(edge, link) {
            (known.link, known.lost) = (None, Some(now));
        }
    }

    /// The edges whose links were lost too long ago.
    pub(super) fn lost_edges(&self, now: Instant) -> Vec<String> {
        let departure = MemberDeparture::Lost(now);
        let all = self.lock();
        let over = all.edges.iter().filter(|(_, known)| departure.is_now(known.link, known.lost));
        over.map(|(edge, _)| edge.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
