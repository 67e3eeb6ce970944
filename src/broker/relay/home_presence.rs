//! The members of rooms at a pod that has edges: the hub's and the edges', in one list.
//!
//! Always holds: no edge replaces or removes an entry that it has not written ([`MemberClaims`]).

use std::sync::Arc;

use super::member_claims::MemberClaims;
use crate::{
    broker::{Answer, Presence},
    model::{Member, PresenceList, Room},
};

/// The list of the pod's own broker, and whose each entry is.
pub struct HomePresence {
    own: Arc<dyn Presence>,
    claims: MemberClaims,
}

impl HomePresence {
    /// Over the pod's own list.
    #[must_use]
    pub fn new(own: Arc<dyn Presence>) -> Self {
        Self { own, claims: MemberClaims::new() }
    }

    /// An edge says that a member came.
    pub(super) fn join_for(&self, edge: &str, room: &Room, member: &Member) {
        self.claims.join(Some(edge), room, member, &*self.own);
    }

    /// Or went.
    pub(super) fn leave_for(&self, edge: &str, room: &Room, member: &Member) {
        self.claims.leave(Some(edge), room, &member.connection, &*self.own);
    }
}

impl Presence for HomePresence {
    fn join(&self, room: &Room, member: &Member) {
        self.claims.join(None, room, member, &*self.own);
    }

    fn leave(&self, room: &Room, member: &Member) {
        self.claims.leave(None, room, &member.connection, &*self.own);
    }

    fn list<'a>(&'a self, room: &'a Room, limit: usize) -> Answer<'a, PresenceList> {
        self.own.list(room, limit)
    }
}
