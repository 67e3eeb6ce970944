//! The signals that a connection has sent: which are still shown, which come too soon, when too many come.
//!
//! Pure: the time is the caller's, in milliseconds since the worker began. Always holds: of one topic in one room no two begin
//! within the policy's time; a stop passes exactly where something is shown; what is remembered is bounded.

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
}

/// A connection's signals. Only connections that send some have it.
#[derive(Debug)]
pub struct SentSignals {
    bucket: Bucket,
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
        Self { bucket: Bucket::new(per_second, now_ms), rests_until_ms: 0, rest_is_timed: false, sent: Vec::new() }
    }

    /// Whether one more is within the connection's rate. After a flood it rests.
    pub fn may_send(&mut self, per_second: u32, now_ms: u64) -> bool {
        match self.bucket.take(per_second, per_second, now_ms) {
            Verdict::Fine => true,
            Verdict::Limited => false,
            Verdict::Flood => {
                (self.rests_until_ms, self.rest_is_timed) = (now_ms + Self::REST_MS, false);
                false
            }
        }
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
        self.sent.retain(|sent| sent.next_ms > now_ms || sent.until_ms > now_ms);
        if self.sent.len() >= Self::MAX {
            return SignalVerdict::TooMany;
        }
        self.sent.push(SentSignal { room: room.clone(), topic: topic.into(), next_ms, until_ms });
        SignalVerdict::Send
    }

    /// One is taken back.
    pub fn stop(&mut self, room: &Room, topic: &str, now_ms: u64) -> SignalVerdict {
        match self.find(room, topic) {
            Some(known) if known.until_ms > now_ms => {
                known.until_ms = 0;
                SignalVerdict::Send
            }
            _ => SignalVerdict::Drop,
        }
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
        assert_eq!(signals.stop(&room, "typing", 2_001), SignalVerdict::Send);
        assert_eq!(signals.stop(&room, "typing", 2_002), SignalVerdict::Drop, "it is stopped already");
        assert_eq!(show(&mut signals, 2_003), SignalVerdict::Drop, "a stop does not make the next one come sooner");
        assert_eq!(show(&mut signals, 4_000), SignalVerdict::Send);
        assert_eq!(signals.stop(&room, "typing", 9_000), SignalVerdict::Drop, "it has ended by itself");
    }

    #[test]
    fn a_room_that_is_left_ends_what_is_shown_there() {
        let mut signals = SentSignals::new(20, 0);
        for (name, topic) in [("a", "x"), ("b", "y"), ("a", "z")] {
            assert_eq!(signals.show(&room(name), topic, 2_000, 5_000, 0), SignalVerdict::Send);
        }
        signals.stop(&room("a"), "x", 10);
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
                    let passes = signals.stop(&room("r"), topics[topic], now) == SignalVerdict::Send;
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
