//! Which writer said which entry of a room's members, at a pod that has edges. Without I/O.
//!
//! A writer is the pod's own hub, or an edge. Always holds: what a writer says changes no entry of another one. The hub's entry, or else the
//! first one under a connection's name, has that name. One that says another user of the same connection stands beside it, under the name, `@`
//! and its edge's name; one that says the same waits behind it, and has the entry once the first is gone, of which nothing is told. An edge
//! that writes an `@` itself always has its own name behind it, so that nothing that it says is another one's entry.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use smallvec::SmallVec;

use crate::{
    broker::Presence,
    model::{Member, Room},
};

/// What stands between a connection's name and its edge's.
const BEHIND: char = '@';

/// How many locks the entries are spread over.
const PARTS: usize = 64;

/// An edge's name; `None`: the pod's own hub.
pub(super) type MemberWriter<'a> = Option<&'a str>;

/// What one writer says of a connection.
struct MemberClaim {
    writer: Option<Arc<str>>,
    user: Option<Arc<str>>,
}

/// What all writers say of one connection in one room: the hub first, then in the order in which they came.
type ClaimList = SmallVec<[MemberClaim; 1]>;

/// An entry as it stands in the room's list.
#[derive(Clone, PartialEq)]
struct ShownEntry {
    writer: Option<Arc<str>>,
    member: Member,
}

/// The entries of all rooms, by a hash of room and connection: its key is this process' own, so that no edge finds two that share one.
pub(super) struct MemberClaims {
    parts: Box<[Mutex<HashMap<u64, ClaimList>>]>,
    hasher: RandomState,
}

impl MemberClaims {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn at(&self, room: &Room, connection: &str) -> (u64, MutexGuard<'_, HashMap<u64, ClaimList>>) {
        let key = self.hasher.hash_one((room, connection));
        // The remainder is below the number of parts.
        let part = &self.parts[(key % PARTS as u64) as usize];
        (key, part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A writer says that a member is there. `store`: the list.
    pub(super) fn join(&self, writer: MemberWriter<'_>, room: &Room, member: &Member, store: &dyn Presence) {
        let (key, mut entries) = self.at(room, &member.connection);
        let claims = entries.entry(key).or_default();
        let before = shown(&member.connection, claims);
        let is_own = |claim: &&mut MemberClaim| claim.writer.as_deref() == writer;
        match claims.iter_mut().find(is_own) {
            Some(claim) => claim.user.clone_from(&member.user),
            None => {
                let claim = MemberClaim { writer: writer.map(Into::into), user: member.user.clone() };
                let at = if writer.is_none() { 0 } else { claims.len() };
                claims.insert(at, claim);
            }
        }
        let after = shown(&member.connection, claims);
        leave_and_join(room, &before, &after, Some(writer), store);
    }

    /// A writer says that it is gone.
    pub(super) fn leave(&self, writer: MemberWriter<'_>, room: &Room, connection: &Arc<str>, store: &dyn Presence) {
        let (key, mut entries) = self.at(room, connection);
        let Some(claims) = entries.get_mut(&key) else { return };
        let before = shown(connection, claims);
        claims.retain(|claim| claim.writer.as_deref() != writer);
        let after = shown(connection, claims);
        if claims.is_empty() {
            entries.remove(&key);
        }
        leave_and_join(room, &before, &after, None, store);
    }
}

/// The entries that come of what all writers say.
fn shown(connection: &Arc<str>, claims: &ClaimList) -> SmallVec<[ShownEntry; 1]> {
    let says_anew = |at: usize, claim: &MemberClaim| claims.iter().take(at).all(|other| other.user != claim.user);
    let entry = |(at, claim): (usize, &MemberClaim)| {
        says_anew(at, claim).then(|| {
            let connection = match &claim.writer {
                Some(writer) if at > 0 || connection.contains(BEHIND) => format!("{connection}{BEHIND}{writer}").into(),
                _ => Arc::clone(connection),
            };
            ShownEntry { writer: claim.writer.clone(), member: Member { connection, user: claim.user.clone() } }
        })
    };
    claims.iter().enumerate().filter_map(entry).collect()
}

/// Has a room's list be `after` instead of `before`. What the writer `again` says is said once more where it stands already: the list may have
/// left it out.
fn leave_and_join(
    room: &Room,
    before: &[ShownEntry],
    after: &[ShownEntry],
    again: Option<MemberWriter<'_>>,
    store: &dyn Presence,
) {
    let same_name = |one: &ShownEntry, other: &ShownEntry| one.member.connection == other.member.connection;
    // A writer that says another user of its own connection renames its entry; of two writers one goes and the other comes.
    let stays = |gone: &ShownEntry, entry: &ShownEntry| {
        same_name(gone, entry) && (gone.writer == entry.writer || gone.member == entry.member)
    };
    for gone in before.iter().filter(|gone| !after.iter().any(|entry| stays(gone, entry))) {
        match gone.writer {
            Some(_) => store.leave_of_edge(room, &gone.member),
            None => store.leave(room, &gone.member),
        }
    }
    for entry in after {
        let is_there = before.iter().any(|known| known.member == entry.member);
        if !is_there || again == Some(entry.writer.as_deref()) {
            match entry.writer {
                Some(_) => store.join_of_edge(room, &entry.member),
                None => store.join(room, &entry.member),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{broker::Answer, model::PresenceList};

    impl MemberClaims {
        fn count(&self) -> usize {
            self.parts.iter().map(|part| part.lock().unwrap().len()).sum()
        }
    }

    /// A list that keeps what it was told, in its order.
    #[derive(Default)]
    struct TestList(Mutex<Vec<String>>);

    impl TestList {
        fn tell(&self, sign: char, member: &Member) {
            self.0.lock().unwrap().push(format!(
                "{sign}{}:{}",
                member.connection,
                member.user.as_deref().unwrap_or("")
            ));
        }

        fn told(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    impl Presence for TestList {
        fn join(&self, _: &Room, member: &Member) {
            self.tell('+', member);
        }

        fn leave(&self, _: &Room, member: &Member) {
            self.tell('-', member);
        }

        fn list<'a>(&'a self, _: &'a Room, _: usize) -> Answer<'a, PresenceList> {
            Box::pin(async { Ok(PresenceList::default()) })
        }
    }

    struct Fixture {
        claims: MemberClaims,
        list: TestList,
        room: Room,
    }

    impl Fixture {
        fn new() -> Self {
            Self { claims: MemberClaims::new(), list: TestList::default(), room: Room::parse("a").unwrap() }
        }

        fn join(&self, writer: MemberWriter<'_>, connection: &str, user: &str) -> Vec<String> {
            let user = Some(user).filter(|user| !user.is_empty()).map(Into::into);
            self.claims.join(writer, &self.room, &Member { connection: connection.into(), user }, &self.list);
            self.list.told()
        }

        fn leave(&self, writer: MemberWriter<'_>, connection: &str) -> Vec<String> {
            self.claims.leave(writer, &self.room, &connection.into(), &self.list);
            self.list.told()
        }
    }

    const E: MemberWriter<'_> = Some("e");
    const F: MemberWriter<'_> = Some("f");

    #[test]
    fn an_edge_replaces_and_removes_no_entry_of_another_writer() {
        let all = Fixture::new();
        assert_eq!(all.join(None, "c1", "ann"), ["+c1:ann"]);
        assert_eq!(all.join(E, "c2", "bob"), ["+c2:bob"]);
        for (name, user) in [("c1", "ann"), ("c2", "bob")] {
            assert_eq!(all.join(F, name, "mal"), [format!("+{name}@f:mal")]);
            assert_eq!(all.join(F, name, ""), [format!("+{name}@f:")], "its own entry has another user now");
            assert_eq!(all.leave(F, name), [format!("-{name}@f:")]);
            assert!(all.join(F, name, user).is_empty() && all.leave(F, name).is_empty(), "it says the same");
            assert!(all.leave(F, name).is_empty(), "and has none");
        }
        assert_eq!(all.leave(E, "c2"), ["-c2:bob"]);
        assert_eq!(all.leave(None, "c1"), ["-c1:ann"]);
        assert_eq!(all.claims.count(), 0);
    }

    #[test]
    fn an_entry_goes_over_to_the_next_that_says_it() {
        let all = Fixture::new();
        // The members of an edge behind two relays move from one to the other.
        assert_eq!(all.join(E, "c1", "ann"), ["+c1:ann"]);
        assert_eq!(all.join(F, "c1", "ann"), ["+c1:ann"; 0]);
        assert!(all.leave(E, "c1").is_empty(), "it stayed all the time");
        assert_eq!(all.join(E, "c1", "bob"), ["+c1@e:bob"]);
        assert_eq!(all.leave(F, "c1"), ["-c1:ann", "-c1@e:bob", "+c1:bob"]);
        assert_eq!(all.leave(E, "c1"), ["-c1:bob"]);
        assert_eq!(all.claims.count(), 0);
    }

    #[test]
    fn a_name_that_an_edge_took_before_is_the_hubs_all_the_same() {
        let all = Fixture::new();
        assert_eq!(all.join(E, "c1", "mal"), ["+c1:mal"]);
        assert_eq!(all.join(None, "c1", "ann"), ["-c1:mal", "+c1:ann", "+c1@e:mal"]);
        assert_eq!(all.join(None, "c1", "ann"), ["+c1:ann"], "the list may have left it out before");
        assert_eq!(all.join(None, "c1", "bob"), ["+c1:bob"], "a newer token");
        assert_eq!(all.leave(E, "c1"), ["-c1@e:mal"]);
    }

    #[test]
    fn an_edge_writes_no_name_that_is_anothers() {
        let all = Fixture::new();
        assert_eq!(all.join(E, "c1", "ann"), ["+c1:ann"]);
        assert_eq!(all.join(F, "c1", "bob"), ["+c1@f:bob"]);
        let third = Some("g");
        assert_eq!(all.join(third, "c1@f", "mal"), ["+c1@f@g:mal"]);
        assert_eq!(all.leave(third, "c1@f"), ["-c1@f@g:mal"]);
        assert_eq!(all.leave(F, "c1"), ["-c1@f:bob"]);
    }
}
