//! Whether a connection got exactly what was published, once, in order. Pure.
//!
//! [`Tracker`] follows one connection's position in one room. It holds nothing but three numbers while all is well;
//! holes are kept only once something is missing, so that a late event differs from a repeated one.

use serde::{Deserialize, Serialize};

/// What went wrong on a set of connections. All zero, or the run is void.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Events that a connection never got, and that no `gap` named.
    pub(crate) lost: u64,
    /// Events that came more than once.
    pub(crate) duplicated: u64,
    /// Events that came after a later one.
    pub(crate) reordered: u64,
    /// Frames or events whose bytes are not what was published.
    pub(crate) corrupt: u64,
    /// Connections that the server closed.
    pub(crate) closed: u64,
    /// Events that a `gap` named. They are not lost silently, but a bench room is small enough to have none.
    pub(crate) told_gaps: u64,
}

impl Faults {
    /// Adds another set's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.closed += other.closed;
        self.told_gaps += other.told_gaps;
    }

    /// Whether nothing went wrong.
    pub(crate) fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// One connection's place in one room.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// The last offset covered.
    position: u64,
    /// The position when counting began.
    base: u64,
    /// Distinct events received since `base`.
    received: u64,
    /// Offsets that `gap` took back since `base`.
    told: u64,
    /// Events since `base` that a newer one of the same frame stood for.
    collapsed: u64,
    /// Ranges (after, offset] that were jumped over.
    holes: Vec<(u64, u64)>,
}

impl Tracker {
    /// The room's position that `subscribed` stated.
    pub(crate) fn subscribed(&mut self, offset: u64) {
        *self = Self { position: offset, base: offset, ..Self::default() };
    }

    /// Counts from here.
    pub(crate) fn begin(&mut self) {
        self.subscribed(self.position);
    }

    /// The last offset covered.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// An `events` frame that covers (`after`, `offset`]. Every offset must be there, or be named by
    /// [`Tracker::collapsed`] right after. Returns how many of its events are new to this connection.
    pub(crate) fn events(
        &mut self,
        after: u64,
        offset: u64,
        offsets: impl Iterator<Item = u64>,
        faults: &mut Faults,
    ) -> u64 {
        if after > self.position {
            self.holes.push((self.position, after));
            self.position = after;
        }
        let mut new = 0;
        for event in offsets {
            if event > self.position {
                if event > self.position + 1 {
                    self.holes.push((self.position, event - 1));
                }
                self.position = event;
                new += 1;
            } else if self.fill(event) {
                faults.reordered += 1;
                new += 1;
            } else {
                faults.duplicated += 1;
            }
        }
        if offset > self.position {
            self.holes.push((self.position, offset));
            self.position = offset;
        }
        self.received += new;
        new
    }

    /// Events that the frame just taken in need not have, because a newer one about the same is in it. Returns how many of
    /// them this connection had not received before.
    pub(crate) fn collapsed(&mut self, events: &[u64]) -> u64 {
        let new = events.iter().filter(|&&event| self.fill(event)).count() as u64;
        self.collapsed += new;
        new
    }

    /// A `gap`: events in (`after`, `offset`] will not come.
    pub(crate) fn gap(&mut self, after: u64, offset: u64, faults: &mut Faults) {
        if after > self.position {
            self.holes.push((self.position, after));
            self.position = after;
        }
        let told = offset.saturating_sub(self.position);
        self.position = self.position.max(offset);
        self.told += told;
        faults.told_gaps += told;
    }

    /// Counts what is missing up to the room's last offset: by the number of events, not by the holes, so that each
    /// check watches the other.
    pub(crate) fn finish(&self, end: u64, faults: &mut Faults) {
        let expected = end.saturating_sub(self.base);
        let accounted = self.received + self.told + self.collapsed;
        faults.lost += expected.saturating_sub(accounted);
        let surplus = accounted.saturating_sub(expected);
        faults.duplicated += surplus;
    }

    /// Takes `event` out of the hole that it falls in.
    fn fill(&mut self, event: u64) -> bool {
        let Some(index) = self.holes.iter().position(|&(after, offset)| event > after && event <= offset) else {
            return false;
        };
        let (after, offset) = self.holes.swap_remove(index);
        if after < event - 1 {
            self.holes.push((after, event - 1));
        }
        if event < offset {
            self.holes.push((event, offset));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subscribes at `from`, feeds frames of (after, offset, events), ends at `end`.
    fn run(from: u64, frames: &[(u64, u64, &[u64])], end: u64) -> Faults {
        let (mut tracker, mut faults) = (Tracker::default(), Faults::default());
        tracker.subscribed(from);
        for &(after, offset, events) in frames {
            tracker.events(after, offset, events.iter().copied(), &mut faults);
        }
        tracker.finish(end, &mut faults);
        faults
    }

    #[test]
    fn an_unbroken_stream_has_no_faults() {
        assert!(run(5, &[(5, 6, &[6]), (6, 8, &[7, 8]), (8, 9, &[9])], 9).none());
    }

    #[test]
    fn a_dropped_frame_is_a_loss() {
        assert_eq!(run(0, &[(0, 1, &[1]), (2, 3, &[3])], 3), Faults { lost: 1, ..Faults::default() });
    }

    #[test]
    fn a_dropped_last_frame_is_a_loss() {
        assert_eq!(run(0, &[(0, 1, &[1])], 3), Faults { lost: 2, ..Faults::default() });
    }

    #[test]
    fn an_event_missing_inside_a_frame_is_a_loss() {
        assert_eq!(run(0, &[(0, 3, &[1, 3])], 3), Faults { lost: 1, ..Faults::default() });
        assert_eq!(run(0, &[(0, 3, &[1, 2])], 3), Faults { lost: 1, ..Faults::default() });
    }

    #[test]
    fn a_repeated_frame_is_a_duplicate() {
        assert_eq!(run(0, &[(0, 2, &[1, 2]), (0, 2, &[1, 2])], 2), Faults { duplicated: 2, ..Faults::default() });
        assert_eq!(run(4, &[(3, 4, &[4]), (4, 5, &[5])], 5), Faults { duplicated: 1, ..Faults::default() });
    }

    #[test]
    fn two_swapped_frames_are_a_reorder() {
        let swapped = run(0, &[(0, 1, &[1]), (2, 3, &[3]), (1, 2, &[2])], 3);
        assert_eq!(swapped, Faults { reordered: 1, ..Faults::default() });
        let far = run(0, &[(4, 5, &[5]), (1, 2, &[2]), (0, 1, &[1]), (2, 4, &[3, 4]), (2, 4, &[3, 4])], 5);
        assert_eq!(far, Faults { reordered: 4, duplicated: 2, ..Faults::default() });
    }

    #[test]
    fn a_told_gap_is_no_loss() {
        let (mut tracker, mut faults) = (Tracker::default(), Faults::default());
        tracker.subscribed(0);
        tracker.events(0, 1, [1].into_iter(), &mut faults);
        tracker.gap(1, 4, &mut faults);
        tracker.events(4, 5, [5].into_iter(), &mut faults);
        tracker.finish(5, &mut faults);
        assert_eq!(faults, Faults { told_gaps: 3, ..Faults::default() });
    }

    #[test]
    fn what_a_newer_event_stands_for_is_no_loss() {
        let (mut tracker, mut faults) = (Tracker::default(), Faults::default());
        tracker.subscribed(0);
        tracker.events(0, 3, [3].into_iter(), &mut faults);
        assert_eq!(tracker.collapsed(&[1]), 1, "the frame may be without 1, but not without 2");
        tracker.events(2, 5, [4, 5].into_iter(), &mut faults);
        assert_eq!(tracker.collapsed(&[3]), 0, "3 came before");
        tracker.finish(5, &mut faults);
        assert_eq!(faults, Faults { lost: 1, ..Faults::default() });
        tracker.events(0, 1, [1].into_iter(), &mut faults);
        assert_eq!(faults.duplicated, 1, "what was stood for must not come later");
    }

    #[test]
    fn counting_begins_anew() {
        let (mut tracker, mut faults) = (Tracker::default(), Faults::default());
        tracker.subscribed(0);
        tracker.events(0, 1, [1].into_iter(), &mut faults);
        tracker.begin();
        tracker.events(1, 2, [2].into_iter(), &mut faults);
        tracker.finish(2, &mut faults);
        assert!(faults.none());
        assert_eq!(tracker.position(), 2);
    }
}
