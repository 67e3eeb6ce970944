//! The signals that a connection has sent: which are still shown, which come too soon, when too many come.
//!
//! Pure: the time is the caller's, in milliseconds since the worker began. Always holds: of one topic in one room no two begin
//! within the policy's time; a stop passes where something is shown, and now and then where another connection may show it; what is
//! remembered is bounded.

use super::{Bucket, Verdict};
use crate::model::Room;

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalVerdict {
    /// It is sent.
    Send,
    /// Nothing is told of it: it comes too soon after the one before, or ends nothing.
    Drop,
    /// The connection shows as many different ones as it may.
    TooMany,
}

/// One topic in one room.
#[derive(Debug)]
struct SentSignal {
    room: Room,
    topic: Box<str>,
    /// Before this nothing more is sent of it, but a stop.
    next_ms: u64,
    /// Until when it is shown.
    until_ms: u64,
    /// Before this no stop is sent of it that ends nothing here.
    next_stop_ms: u64,
}

/// A connection's signals. Only connections that send some have it.
#[derive(Debug)]
pub struct SentSignals {
    bucket: Bucket,
    /// Whether the last one came above the rate.
    is_above_rate: bool,
    /// Before this the connection is not read from.
    rests_until_ms: u64,
    /// Whether its end was asked for.
    rest_is_timed: bool,
    sent: Vec<SentSignal>,
}

impl SentSignals {
    /// The most topics, each in its room, that a connection shows at once.
    pub const MAX: usize = 16;

    /// For how long a connection that sends far too many is not read from.
    const REST_MS: u64 = 5_000;

    /// None yet.
    #[must_use]
    pub fn new(per_second: u32, now_ms: u64) -> Self {
        let bucket = Bucket::new(per_second, now_ms);
        Self { bucket, is_above_rate: false, rests_until_ms: 0, rest_is_timed: false, sent: Vec::new() }
    }

    /// Whether one more is within the connection's rate. After a flood it rests.
    pub fn may_send(&mut self, per_second: u32, now_ms: u64) -> bool {
        let verdict = self.bucket.take(per_second, per_second, now_ms);
        if verdict == Verdict::Flood {
            (self.rests_until_ms, self.rest_is_timed) = (now_ms + Self::REST_MS, false);
        }
        self.is_above_rate = verdict != Verdict::Fine;
        !self.is_above_rate
    }

    /// Whether the connection is not to be read from now.
    #[must_use]
    pub fn rests(&self, now_ms: u64) -> bool {
        self.rests_until_ms > now_ms
    }

    /// When the rest ends, asked once for each.
    pub fn time_rest(&mut self) -> Option<u64> {
        (!std::mem::replace(&mut self.rest_is_timed, true)).then_some(self.rests_until_ms)
    }

    /// One is to be shown for so long, and the next not sooner than after `every_ms`.
    pub fn show(&mut self, room: &Room, topic: &str, every_ms: u64, ttl_ms: u32, now_ms: u64) -> SignalVerdict {
        let (next_ms, until_ms) = (now_ms + every_ms, now_ms + u64::from(ttl_ms));
        if let Some(known) = self.find(room, topic) {
            if now_ms < known.next_ms {
                return SignalVerdict::Drop;
            }
            (known.next_ms, known.until_ms) = (next_ms, until_ms);
            return SignalVerdict::Send;
        }
        let sent = SentSignal { room: room.clone(), topic: topic.into(), next_ms, until_ms, next_stop_ms: 0 };
        if self.remember(sent, now_ms) { SignalVerdict::Send } else { SignalVerdict::TooMany }
    }

    /// Whether there was place for one more topic. Stops take none from what is shown.
    fn remember(&mut self, signal: SentSignal, now_ms: u64) -> bool {
        let is_stop = signal.until_ms == 0;
        let is_recent = |sent: &SentSignal| sent.next_ms.max(sent.until_ms) > now_ms;
        self.sent.retain(|sent| is_recent(sent) || (is_stop && sent.next_stop_ms > now_ms));
        let has_place = self.sent.len() < Self::MAX;
        if has_place {
            self.sent.push(signal);
        }
        has_place
    }

    /// One is taken back. `elsewhere_ms`: where nothing is shown from here, another connection of the user may show it, so that a stop passes
    /// all the same, not sooner than so long after the one before; `None`: there is no other one.
    pub fn stop(&mut self, room: &Room, topic: &str, elsewhere_ms: Option<u64>, now_ms: u64) -> SignalVerdict {
        let next_stop_ms = now_ms + elsewhere_ms.unwrap_or_default();
        let may_be_elsewhere = elsewhere_ms.is_some() && !self.is_above_rate;
        if let Some(known) = self.find(room, topic) {
            let is_shown = known.until_ms > now_ms;
            let may_stop = may_be_elsewhere && known.next_stop_ms <= now_ms;
            if !(is_shown || may_stop) {
                return SignalVerdict::Drop;
            }
            (known.until_ms, known.next_stop_ms) = (0, next_stop_ms);
            return SignalVerdict::Send;
        }
        let stopped = SentSignal { room: room.clone(), topic: topic.into(), next_ms: 0, until_ms: 0, next_stop_ms };
        if may_be_elsewhere && self.remember(stopped, now_ms) { SignalVerdict::Send } else { SignalVerdict::Drop }
    }

    /// The connection leaves a room: the topics of what it still shows there.
    pub fn leave(&mut self, room: &Room, now_ms: u64) -> Vec<Box<str>> {
        let shown = self.sent.iter_mut().filter(|sent| sent.room == *room && sent.until_ms > now_ms);
        shown
            .map(|sent| {
                sent.until_ms = 0;
                sent.topic.clone()
            })
            .collect()
    }

    fn find(&mut self, room: &Room, topic: &str) -> Option<&mut SentSignal> {
        self.sent.iter_mut().find(|sent| sent.room == *room && *sent.topic == *topic)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(name: &str) -> Room {
        Room::parse(name).unwrap()
    }

    #[test]
    fn one_in_two_seconds_passes_and_its_stop_at_once() {
        let (mut signals, room) = (SentSignals::new(20, 0), room("chat:1"));
        let show = |signals: &mut SentSignals, now| signals.show(&room, "typing", 2_000, 5_000, now);
        assert_eq!(show(&mut signals, 0), SignalVerdict::Send);
        assert_eq!([show(&mut signals, 1), show(&mut signals, 1_999)], [SignalVerdict::Drop; 2]);
        assert_eq!(signals.show(&room, "recording", 2_000, 5_000, 1_999), SignalVerdict::Send, "another topic");
        assert_eq!(show(&mut signals, 2_000), SignalVerdict::Send);
        assert_eq!(signals.stop(&room, "typing", None, 2_001), SignalVerdict::Send);
        assert_eq!(signals.stop(&room, "typing", None, 2_002), SignalVerdict::Drop, "it is stopped already");
        assert_eq!(show(&mut signals, 2_003), SignalVerdict::Drop, "a stop does not make the next one come sooner");
        assert_eq!(show(&mut signals, 4_000), SignalVerdict::Send);
        assert_eq!(signals.stop(&room, "typing", None, 9_000), SignalVerdict::Drop, "it has ended by itself");
    }

    #[test]
    fn a_user_takes_back_what_another_of_its_connections_shows() {
        let (mut signals, room) = (SentSignals::new(20, 0), room("chat:1"));
        let mut stop = |now| signals.stop(&room, "typing", Some(2_000), now);
        assert_eq!(
            [stop(0), stop(1_999), stop(2_000)],
            [SignalVerdict::Send, SignalVerdict::Drop, SignalVerdict::Send]
        );
        assert_eq!(signals.show(&room, "typing", 2_000, 5_000, 2_001), SignalVerdict::Send);
        assert_eq!(signals.stop(&room, "typing", Some(2_000), 2_002), SignalVerdict::Send, "its own at once");
        assert_eq!(signals.stop(&room, "typing", Some(2_000), 2_003), SignalVerdict::Drop);
        // Above the rate only what is shown from here ends.
        while signals.may_send(20, 5_000) {}
        assert_eq!(signals.stop(&room, "typing", Some(2_000), 5_000), SignalVerdict::Drop);
        assert!(signals.may_send(20, 6_000));
        for n in 0..2 * SentSignals::MAX {
            signals.stop(&room, &n.to_string(), Some(2_000), 6_000);
        }
        assert_eq!(signals.sent.len(), SentSignals::MAX);
        assert_eq!(signals.show(&room, "other", 2_000, 5_000, 6_000), SignalVerdict::Send, "stops take no place");
    }

    #[test]
    fn a_room_that_is_left_ends_what_is_shown_there() {
        let mut signals = SentSignals::new(20, 0);
        for (name, topic) in [("a", "x"), ("b", "y"), ("a", "z")] {
            assert_eq!(signals.show(&room(name), topic, 2_000, 5_000, 0), SignalVerdict::Send);
        }
        signals.stop(&room("a"), "x", None, 10);
        assert_eq!(signals.leave(&room("a"), 20), ["z".into()] as [Box<str>; 1]);
        assert!(signals.leave(&room("a"), 20).is_empty() && signals.leave(&room("b"), 5_000).is_empty());
        assert_eq!(signals.show(&room("a"), "z", 2_000, 5_000, 30), SignalVerdict::Drop, "coming back saves no time");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_in_time() {
        let mut signals = SentSignals::new(20, 0);
        let mut show = |n: usize, now| signals.show(&room("a"), &n.to_string(), 2_000, 5_000, now);
        for n in 0..SentSignals::MAX {
            assert_eq!(show(n, 0), SignalVerdict::Send);
        }
        assert_eq!(show(SentSignals::MAX, 4_999), SignalVerdict::TooMany);
        assert_eq!(show(SentSignals::MAX, 5_000), SignalVerdict::Send);
    }

    #[test]
    fn a_flood_rests_and_typing_does_not() {
        let mut signals = SentSignals::new(10, 0);
        for n in 0..1_000 {
            signals.may_send(10, n * 60);
            assert!(!signals.rests(n * 60), "less than twice the rate");
        }
        let passed = (0..1_000).filter(|_| signals.may_send(10, 60_000)).count();
        assert!(passed <= 10, "{passed}");
        assert!(signals.rests(64_999) && !signals.rests(65_000));
        assert_eq!([signals.time_rest(), signals.time_rest()], [Some(65_000), None]);
    }

    proptest! {
        /// Whatever a client sends, in whatever order: the pace holds, and each stop that passes ends something.
        #[test]
        fn the_pace_holds(steps in prop::collection::vec((0u64..1_500, 0usize..3, 0u8..3), 1..200)) {
            let (mut signals, mut now) = (SentSignals::new(20, 0), 0);
            let topics = ["a", "b", "c"];
            let mut last: [Option<u64>; 3] = [None; 3];
            let mut until = [0; 3];
            for (pause, topic, act) in steps {
                now += pause;
                if act == 0 {
                    let passes = signals.stop(&room("r"), topics[topic], None, now) == SignalVerdict::Send;
                    prop_assert_eq!(passes, until[topic] > now);
                    until[topic] = 0;
                } else if signals.show(&room("r"), topics[topic], 2_000, 5_000, now) == SignalVerdict::Send {
                    prop_assert!(last[topic].is_none_or(|last| now - last >= 2_000));
                    (last[topic], until[topic]) = (Some(now), now + 5_000);
                } else {
                    prop_assert!(last[topic].is_some_and(|last| now - last < 2_000));
                }
            }
        }
    }
}
