//! A room's members on one worker, grouped by wire format: each group shares its frames.
//!
//! Owns places, not connections: a member is a number. Always holds: while a fan-out runs over the groups, no member
//! moves (a member that leaves becomes a hole), and one that joins stands behind the end that the fan-out began with.

use metrics::Gauge;
use smallvec::SmallVec;

use crate::{hub::connection::key::ConnectionKey, protocol::WireFormat};

/// A hole that a fan-out in progress steps over.
const HOLE: ConnectionKey = ConnectionKey(u32::MAX);

/// A place in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatIndex(u32);

impl SeatIndex {
    /// The place that stands so far from the first. A worker has far fewer connections than 2^32.
    #[inline]
    #[must_use]
    pub fn of(at: usize) -> Self {
        Self(at as u32)
    }

    /// How far it stands from the first.
    #[inline]
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: u8,
    /// The place in it.
    pub slot: SeatIndex,
}

/// Members of one wire format.
#[derive(Debug)]
pub struct Group {
    /// The format.
    pub format: WireFormat,
    members: Vec<ConnectionKey>,
    holes: u32,
}

impl Group {
    /// The member at a place, if it has not left.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: usize) -> Option<ConnectionKey> {
        self.members.get(slot).copied().filter(|&key| key != HOLE)
    }

    /// How many places there are, holes included.
    #[must_use]
    pub fn end(&self) -> usize {
        self.members.len()
    }
}

/// A room's members on one worker.
#[derive(Debug)]
pub struct Members {
    groups: SmallVec<[Group; 1]>,
    pinned: bool,
    /// Counts them, together with the members of other rooms.
    gauge: Gauge,
}

impl Default for Members {
    fn default() -> Self {
        Self::shown_by(Gauge::noop())
    }
}

impl Members {
    /// No members yet; `gauge` goes up and down with them.
    #[must_use]
    pub fn shown_by(gauge: Gauge) -> Self {
        Self { groups: SmallVec::new(), pinned: false, gauge }
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|g| g.members.len() - g.holes as usize).sum()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a member.
    pub fn add(&mut self, key: ConnectionKey, format: WireFormat) -> Place {
        let group = match self.groups.iter().position(|g| g.format == format) {
            Some(group) => group,
            None => {
                self.groups.push(Group { format, members: Vec::new(), holes: 0 });
                self.groups.len() - 1
            }
        };
        let members = &mut self.groups[group].members;
        members.push(key);
        self.gauge.increment(1.0);
        // There are far fewer formats than 256.
        Place { group: group as u8, slot: SeatIndex::of(members.len() - 1) }
    }

    /// Removes the member at a place. Returns the member that stands there now: its subscription has to say so.
    pub fn remove(&mut self, place: Place) -> Option<ConnectionKey> {
        let group = self.groups.get_mut(usize::from(place.group))?;
        let slot = place.slot.at();
        if slot >= group.members.len() {
            return None;
        }
        if self.pinned {
            if std::mem::replace(&mut group.members[slot], HOLE) != HOLE {
                group.holes += 1;
                self.gauge.decrement(1.0);
            }
            return None;
        }
        group.members.swap_remove(slot);
        self.gauge.decrement(1.0);
        group.members.get(slot).copied()
    }

    /// A fan-out begins: no member moves until [`Members::unpin`]. Where each group ends.
    pub fn pin(&mut self) -> SmallVec<[usize; 1]> {
        self.pinned = true;
        self.groups.iter().map(Group::end).collect()
    }

    /// Whether a fan-out is under way.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// The fan-out is over: closes the holes and says which members moved where.
    pub fn unpin(&mut self, mut moved: impl FnMut(ConnectionKey, Place)) {
        self.pinned = false;
        for (index, group) in self.groups.iter_mut().enumerate().filter(|(_, g)| g.holes > 0) {
            let mut slot = 0;
            while slot < group.members.len() {
                if group.members[slot] != HOLE {
                    slot += 1;
                    continue;
                }
                group.members.swap_remove(slot);
                if let Some(&key) = group.members.get(slot)
                    && key != HOLE
                {
                    moved(key, Place { group: index as u8, slot: SeatIndex::of(slot) });
                }
            }
            group.holes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{DialectId, Framing};

    fn format(bits: u8) -> WireFormat {
        let framing = Framing::websocket(std::num::NonZeroU8::new(bits));
        WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing }
    }

    proptest! {
        /// Whatever joins and leaves in whatever order, pinned or not: places stay true, and a member that joined
        /// while pinned stands behind the end.
        #[test]
        fn places_stay_true(steps in prop::collection::vec((0u8..4, 0u32..40), 1..200)) {
            let mut members = Members::default();
            let mut places: HashMap<ConnectionKey, Place> = HashMap::new();
            let mut pinned: Option<Vec<usize>> = None;
            for (step, key) in steps.into_iter().map(|(step, key)| (step, ConnectionKey(key))) {
                match step {
                    0 | 1 => {
                        if places.contains_key(&key) { continue; }
                        let place = members.add(key, format(9 + (key.0 % 3) as u8));
                        if let Some(ends) = &pinned {
                            let end = ends.get(usize::from(place.group)).copied().unwrap_or(0);
                            prop_assert!(place.slot.at() >= end);
                        }
                        places.insert(key, place);
                    }
                    2 => {
                        let Some(place) = places.remove(&key) else { continue };
                        if let Some(moved) = members.remove(place) {
                            places.insert(moved, place);
                        }
                    }
                    _ => {
                        if pinned.take().is_some() {
                            members.unpin(|key, place| { places.insert(key, place); });
                        } else {
                            pinned = Some(members.pin().into_vec());
                        }
                    }
                }
                prop_assert_eq!(members.len(), places.len());
                for (key, place) in &places {
                    prop_assert_eq!(members.groups()[usize::from(place.group)].at(place.slot.at()), Some(*key));
                }
            }
        }
    }
}
