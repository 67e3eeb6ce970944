//! Publishes of this pod that are traced, and the fan-outs of their events. Pure: the time is the caller's.
//!
//! A fan-out may be over before its publisher has its answer, and workers are done at different times. So what ran in a room while a
//! publish to it was under way is remembered until that has its position, and a position for a while after. In a fleet all that ran
//! lately is remembered: the pod that published tells of it afterwards.
//!
//! Always holds: each bound costs spans of fan-outs and nothing else.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::span::{FanOut, Parent, SpanContext};
use crate::model::{Position, Room};

/// The most rooms with such publishes.
const MAX_ROOMS: usize = 1_024;

/// The most rooms in all, where what ran is remembered for publishes of other pods.
const MAX_ROOMS_OF_A_FLEET: usize = 8 * 1_024;

/// The most fan-outs that are remembered, of all rooms: about 8 MiB.
const MAX_RAN_OF_ALL: usize = 65_536;

/// How long that is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// The most publishes of one room whose position is remembered; the oldest goes first.
const MAX_PUBLISHED: usize = 64;

/// The most fan-outs of one room that are remembered; the oldest goes first.
const MAX_RAN: usize = 64;

/// A publish whose event has its position.
#[derive(Debug, Clone)]
pub(super) struct PublishedSpan {
    pub(super) context: SpanContext,
    /// The span, as what its fan-outs are below.
    pub(super) span: Parent,
    pub(super) position: Position,
    /// Until when its fan-outs are awaited.
    pub(super) until: Instant,
}

#[derive(Debug, Default)]
struct AwaitedRoom {
    /// Publishes that have no position yet.
    under_way: usize,
    ran: VecDeque<(Instant, FanOut)>,
    published: VecDeque<PublishedSpan>,
}

/// The rooms of publishes that are traced.
#[derive(Debug)]
pub(super) struct AwaitedFanOuts {
    rooms: HashMap<Room, AwaitedRoom>,
    /// Other pods tell of their publishes.
    in_fleet: bool,
    /// How many fan-outs are remembered.
    remembered: usize,
}

impl AwaitedFanOuts {
    /// None yet.
    pub(super) fn new(in_fleet: bool) -> Self {
        Self { rooms: HashMap::new(), in_fleet, remembered: 0 }
    }

    /// Whether fan-outs are of interest.
    pub(super) fn looks_at_fan_outs(&self) -> bool {
        self.in_fleet || !self.rooms.is_empty()
    }

    /// A publish begins. `false`: there are too many rooms, and its fan-outs are not awaited.
    pub(super) fn begin(&mut self, room: &Room) -> bool {
        let most = if self.in_fleet { MAX_ROOMS_OF_A_FLEET + MAX_ROOMS } else { MAX_ROOMS };
        if self.rooms.len() >= most && !self.rooms.contains_key(room) {
            return false;
        }
        self.rooms.entry(room.clone()).or_default().under_way += 1;
        true
    }

    /// It has its position; the fan-outs of its event that are over already.
    pub(super) fn published(&mut self, room: &Room, span: PublishedSpan) -> Vec<FanOut> {
        let Some(awaited) = self.rooms.get_mut(room) else { return Vec::new() };
        awaited.end();
        let ran = awaited.await_more(span);
        self.remembered -= awaited.forget_ran(self.in_fleet);
        ran
    }

    /// A publish of another pod has its position; the fan-outs of its event here that are over already.
    pub(super) fn published_elsewhere(&mut self, room: &Room, span: PublishedSpan) -> Vec<FanOut> {
        if self.rooms.len() >= MAX_ROOMS_OF_A_FLEET && !self.rooms.contains_key(room) {
            return Vec::new();
        }
        self.rooms.entry(room.clone()).or_default().await_more(span)
    }

    /// It will have none.
    pub(super) fn gave_up(&mut self, room: &Room) {
        let Some(awaited) = self.rooms.get_mut(room) else { return };
        awaited.end();
        self.remembered -= awaited.forget_ran(self.in_fleet);
        if awaited.is_over() {
            self.rooms.remove(room);
        }
    }

    /// A fan-out is over; the publishes whose events it had.
    pub(super) fn ran(&mut self, room: &Room, fan_out: &FanOut, now: Instant) -> Vec<PublishedSpan> {
        if self.in_fleet && self.rooms.len() < MAX_ROOMS_OF_A_FLEET && !self.rooms.contains_key(room) {
            self.rooms.insert(room.clone(), AwaitedRoom::default());
        }
        let Some(awaited) = self.rooms.get_mut(room) else { return Vec::new() };
        if awaited.under_way > 0 || self.in_fleet {
            if awaited.ran.len() >= MAX_RAN {
                self.remembered -= usize::from(awaited.ran.pop_front().is_some());
            }
            if self.remembered < MAX_RAN_OF_ALL {
                awaited.ran.push_back((now, fan_out.clone()));
                self.remembered += 1;
            }
        }
        awaited.published.iter().filter(|span| fan_out.covers(&span.position)).cloned().collect()
    }

    /// Forgets what is not awaited any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.rooms.retain(|_, awaited| {
            awaited.published.retain(|span| span.until > now);
            if awaited.under_way == 0 {
                awaited.ran.retain(|(at, _)| now.saturating_duration_since(*at) < REMEMBERED_FOR);
            }
            !awaited.is_over()
        });
        self.remembered = self.rooms.values().map(|awaited| awaited.ran.len()).sum();
    }
}

impl AwaitedRoom {
    fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Of the fan-outs that are over, those of this publish; it waits for further ones.
    fn await_more(&mut self, span: PublishedSpan) -> Vec<FanOut> {
        let ran = self.ran.iter().filter(|(_, ran)| ran.covers(&span.position)).map(|(_, ran)| ran.clone()).collect();
        if self.published.len() >= MAX_PUBLISHED {
            self.published.pop_front();
        }
        self.published.push_back(span);
        ran
    }

    /// What ran before the next publish of this pod begins is not of its event. How many fan-outs are forgotten.
    fn forget_ran(&mut self, in_fleet: bool) -> usize {
        if self.under_way == 0 && !in_fleet { self.ran.drain(..).count() } else { 0 }
    }

    fn is_over(&self) -> bool {
        self.under_way == 0 && self.published.is_empty() && self.ran.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        model::Epoch,
        traces::trace_context::{SpanId, TraceFlags, TraceId},
    };

    fn room(name: &str) -> Room {
        Room::parse(name).unwrap()
    }

    fn fan_out(epoch: &str, after: u64, offset: u64) -> FanOut {
        let epoch = Epoch::new(epoch);
        FanOut { epoch, after, offset, events: 1, worker: 0, receivers: 1, began: 0, ended: 0 }
    }

    fn span(offset: u64, until: Instant) -> PublishedSpan {
        let (trace, flags) = (TraceId([1; 16]), TraceFlags::OWN);
        let context = SpanContext { trace, flags, state: "".into(), pattern: "*".into(), room: None };
        PublishedSpan {
            context,
            span: Parent::Own(SpanId([2; 8])),
            position: Position::new(Epoch::new("e"), offset),
            until,
        }
    }

    #[test]
    fn a_fan_out_meets_its_publish_whichever_is_first() {
        let (mut awaited, now) = (AwaitedFanOuts::new(false), Instant::now());
        let later = now + Duration::from_secs(1);
        let (a, b) = (room("a"), room("b"));
        assert!(awaited.begin(&a));
        for early in [fan_out("e", 0, 4), fan_out("e", 4, 6), fan_out("f", 4, 6)] {
            assert!(awaited.ran(&a, &early, now).is_empty());
        }
        assert_eq!(awaited.published(&a, span(5, later)), [fan_out("e", 4, 6)]);
        // Another worker, later.
        assert_eq!(awaited.ran(&a, &fan_out("e", 4, 6), now).len(), 1);
        assert!(
            awaited.ran(&a, &fan_out("e", 6, 7), now).is_empty()
                && awaited.ran(&b, &fan_out("e", 4, 6), now).is_empty()
        );
        awaited.sweep(now);
        assert_eq!(awaited.rooms.len(), 1);
        awaited.sweep(later);
        assert_eq!(awaited.rooms.len(), 0);
    }

    #[test]
    fn what_ran_is_remembered_only_while_a_publish_is_under_way() {
        let (mut awaited, now) = (AwaitedFanOuts::new(false), Instant::now());
        let a = room("a");
        assert!(awaited.ran(&a, &fan_out("e", 0, 1), now).is_empty());
        assert!(awaited.begin(&a) && awaited.begin(&a));
        awaited.ran(&a, &fan_out("e", 0, 1), now);
        awaited.gave_up(&a);
        assert_eq!(awaited.published(&a, span(1, now)).len(), 1);
        assert!(awaited.begin(&a));
        assert!(awaited.published(&a, span(1, now)).is_empty(), "a repeated publish has no second fan-out");
        assert!(awaited.begin(&a));
        awaited.gave_up(&a);
        awaited.sweep(now);
        assert_eq!(awaited.rooms.len(), 0);
        assert!(awaited.begin(&a));
        awaited.gave_up(&a);
        assert_eq!(awaited.rooms.len(), 0);
    }

    #[test]
    fn all_of_it_is_bounded() {
        let (mut awaited, now) = (AwaitedFanOuts::new(false), Instant::now());
        let begun = (0..MAX_ROOMS + 5).filter(|n| awaited.begin(&room(&n.to_string()))).count();
        assert_eq!(begun, MAX_ROOMS);
        let first = room("0");
        assert!(awaited.begin(&first), "a room that is known takes more");
        (0..500).for_each(|n| drop(awaited.ran(&first, &fan_out("e", n, n + 1), now)));
        (0..500).for_each(|n| drop(awaited.published(&first, span(n, now))));
        let kept = awaited.rooms.get(&first).unwrap();
        assert!(kept.ran.len() <= MAX_RAN && kept.published.len() == MAX_PUBLISHED);
    }

    #[test]
    fn in_a_fleet_what_ran_lately_meets_a_publish_that_is_told_of_afterwards() {
        let (mut awaited, now) = (AwaitedFanOuts::new(true), Instant::now());
        let (a, later) = (room("a"), now + Duration::from_secs(20));
        assert!(awaited.looks_at_fan_outs());
        awaited.ran(&a, &fan_out("e", 4, 6), now);
        assert!(awaited.begin(&a));
        awaited.gave_up(&a);
        awaited.sweep(now + Duration::from_secs(1));
        assert_eq!(awaited.published_elsewhere(&a, span(5, later)), [fan_out("e", 4, 6)]);
        assert!(awaited.published_elsewhere(&room("b"), span(5, later)).is_empty());
        // What runs later, on another worker.
        assert_eq!(awaited.ran(&a, &fan_out("e", 4, 6), now).len(), 1);
        awaited.sweep(now + Duration::from_secs(6));
        assert!(awaited.published_elsewhere(&a, span(6, later)).is_empty(), "that was too long ago");
        awaited.sweep(later);
        assert!(awaited.rooms.is_empty());
        for n in 0..MAX_ROOMS_OF_A_FLEET + 5 {
            awaited.ran(&room(&n.to_string()), &fan_out("e", 0, 1), now);
        }
        assert_eq!(awaited.rooms.len(), MAX_ROOMS_OF_A_FLEET);
        assert!(awaited.begin(&a), "there is a place for this pod's own");
        for n in 0..MAX_RAN_OF_ALL as u64 {
            awaited.ran(&room(&(n % 2_000).to_string()), &fan_out("e", n, n + 1), now);
        }
        let remembered: usize = awaited.rooms.values().map(|awaited| awaited.ran.len()).sum();
        assert_eq!((remembered, awaited.remembered), (MAX_RAN_OF_ALL, MAX_RAN_OF_ALL));
        awaited.sweep(now + Duration::from_secs(6));
        assert_eq!(awaited.remembered, 0);
    }
}
