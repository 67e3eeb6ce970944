//! The order in which a fan-out reaches members: group by group, place by place, up to where each group ended when it began.
//!
//! Pure: knows no frame and no connection. The worker's hot path and the simulation drive the same walk. Always holds: each place that
//! a group had at the beginning comes up once, and none behind it; it counts as reached before its member is written to, so that
//! a member whose write panics is not written to again.

use smallvec::SmallVec;

use crate::hub::{
    connection::key::ConnectionKey,
    fanout::members::{Group, Place},
    planted::{Fault, planted},
};

/// How far a fan-out has come.
#[derive(Debug)]
pub struct Walk {
    /// Where each group ended when the fan-out began.
    ends: SmallVec<[usize; 1]>,
    /// The group in progress.
    group: usize,
    /// The next place in it.
    slot: usize,
}

impl Walk {
    /// A walk that has reached none, up to these ends ([`Members::pin`](super::members::Members::pin)).
    #[must_use]
    pub fn new(ends: SmallVec<[usize; 1]>) -> Self {
        Self { ends, group: 0, slot: 0 }
    }

    /// The group in progress; `None`: the walk is over.
    #[inline]
    #[must_use]
    pub fn group<'a>(&self, groups: &'a [Group]) -> Option<&'a Group> {
        if self.group < self.ends.len() { groups.get(self.group) } else { None }
    }

    /// Goes on to the next group.
    #[inline]
    pub fn next_group(&mut self) {
        self.group += 1;
        self.slot = 0;
    }

    /// The place behind the next `most` of the group in progress; `None`: all of its places were reached.
    #[inline]
    #[must_use]
    pub fn stretch(&self, group: &Group, most: usize) -> Option<usize> {
        let end = self.end(group);
        (self.slot < end).then(|| (self.slot + most).min(end))
    }

    /// The members of the group in progress that come before a place, none of them reached yet.
    #[inline]
    pub fn ahead<'a>(&self, group: &'a Group, stop: usize) -> impl Iterator<Item = ConnectionKey> + use<'a> {
        (self.slot..stop).filter_map(move |slot| group.at(slot))
    }

    /// Reaches the next member that comes before a place; `None`: there is none.
    #[inline]
    pub fn next(&mut self, group: &Group, stop: usize) -> Option<ConnectionKey> {
        while self.slot < stop {
            let member = group.at(self.slot);
            self.slot += 1;
            if member.is_some() {
                return member;
            }
        }
        None
    }

    /// The members of the group in progress that were not reached.
    pub fn rest<'a>(&self, group: &'a Group) -> impl Iterator<Item = ConnectionKey> + use<'a> {
        self.ahead(group, self.end(group))
    }

    /// The member that was reached last.
    #[must_use]
    pub fn last(&self, group: &Group) -> Option<ConnectionKey> {
        self.slot.checked_sub(1).and_then(|slot| group.at(slot))
    }

    /// Whether a place is still to be reached.
    #[must_use]
    pub fn awaits(&self, place: Place) -> bool {
        let (group, slot) = (usize::from(place.group), place.slot.at());
        let here = self.ends.get(group).is_some_and(|end| slot < *end);
        here && (group > self.group || (group == self.group && slot >= self.slot))
    }

    #[inline]
    fn end(&self, group: &Group) -> usize {
        if planted(Fault::UnpinnedFanOut) {
            return group.end();
        }
        self.ends.get(self.group).copied().unwrap_or(0)
    }
}
