//! Whether a window of a room is worth its memory: of one wire format.
//!
//! Pure: the time is the caller's, in milliseconds. Always holds: a window begins where compressed frames went to many receivers within
//! a minute, and ends after a minute in which it saved little; a wire format whose window saved little waits before it has one again.

/// How long what was delivered counts.
const SPAN_MS: u64 = 60_000;

/// How long a wire format waits whose window did not pay.
const PAUSE_MS: u64 = 10 * SPAN_MS;

/// What a room's compressed frames of one wire format came to.
#[derive(Debug, Default)]
pub struct WindowWorth {
    since_ms: u64,
    /// Receivers since then, and bytes saved.
    now: (u64, u64),
    /// The same in the minute before.
    before: (u64, u64),
    /// Since when there is a window.
    began_ms: Option<u64>,
    not_before_ms: u64,
}

impl WindowWorth {
    /// So many receivers within a minute make it worth trying: about 1.5 KB a second.
    pub const DELIVERIES: u64 = 300;

    /// So many bytes saved in a minute make it worth keeping.
    pub const SAVED: u64 = 32 * 1024;

    /// Counts receivers of a compressed frame, and the bytes that were saved.
    pub fn count(&mut self, receivers: u64, saved: u64, now_ms: u64) {
        self.turn(now_ms);
        self.now.0 += receivers;
        self.now.1 += saved;
    }

    /// The receivers of a minute, to compare rooms by.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.now.0.max(self.before.0)
    }

    /// Whether a window is worth trying.
    pub fn may_begin(&mut self, now_ms: u64) -> bool {
        self.turn(now_ms);
        self.deliveries() >= Self::DELIVERIES && now_ms >= self.not_before_ms
    }

    /// There is a window from now on.
    pub fn begin(&mut self, now_ms: u64) {
        self.began_ms.get_or_insert(now_ms);
    }

    /// Whether the window goes on. `false`: it ends now.
    pub fn may_go_on(&mut self, now_ms: u64) -> bool {
        self.turn(now_ms);
        let Some(began_ms) = self.began_ms else { return true };
        // The minute before must have been its own.
        if self.since_ms < began_ms + SPAN_MS || self.before.1 >= Self::SAVED || self.now.1 >= Self::SAVED {
            return true;
        }
        self.end(now_ms);
        false
    }

    /// The window is over.
    pub fn end(&mut self, now_ms: u64) {
        // Where it is quiet nothing is tried in vain: what comes back may begin at once.
        let tried = self.deliveries() >= Self::DELIVERIES;
        self.began_ms = None;
        self.not_before_ms = if tried { now_ms + PAUSE_MS } else { now_ms };
    }

    /// The time goes on.
    pub fn turn(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.since_ms);
        if passed >= SPAN_MS {
            self.before = if passed < 2 * SPAN_MS { self.now } else { (0, 0) };
            self.now = (0, 0);
            self.since_ms = now_ms - passed % SPAN_MS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_room_has_one_as_long_as_it_saves() {
        let mut worth = WindowWorth::default();
        worth.count(WindowWorth::DELIVERIES - 1, 0, 1_000);
        assert!(!worth.may_begin(2_000));
        worth.count(1, 0, 3_000);
        assert!(worth.may_begin(3_000));
        worth.begin(3_000);
        for minute in 0..10 {
            worth.count(400, WindowWorth::SAVED, minute * 60_000 + 10_000);
            assert!(worth.may_go_on(minute * 60_000 + 59_000), "minute {minute}");
        }
        assert!(worth.may_go_on(659_000), "the minute before counts");
        assert!(!worth.may_go_on(721_000), "it was quiet");
        worth.count(WindowWorth::DELIVERIES, 0, 722_000);
        assert!(worth.may_begin(722_000), "and may have one when it is not");
    }

    #[test]
    fn a_room_whose_window_saves_nothing_waits_for_the_next_try() {
        let mut worth = WindowWorth::default();
        worth.count(10_000, 0, 1_000);
        worth.begin(1_000);
        worth.count(10_000, 10, 59_000);
        assert!(worth.may_go_on(60_500), "it has not had a minute");
        worth.count(10_000, 10, 61_000);
        worth.count(10_000, 10, 121_000);
        assert!(!worth.may_go_on(121_000));
        worth.count(10_000, 10, 122_000);
        assert!(!worth.may_begin(122_000) && !worth.may_begin(600_000));
        worth.count(10_000, 10, 721_000);
        assert!(worth.may_begin(722_000));
    }

    #[test]
    fn what_is_spread_over_more_than_a_minute_does_not_pay() {
        let mut worth = WindowWorth::default();
        for n in 0..1_000 {
            worth.count(1, 0, n * 1_000);
            assert!(!worth.may_begin(n * 1_000));
        }
    }
}
