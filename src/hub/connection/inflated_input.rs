//! What a client's messages are more than what came of them over the network: a frame of a hundred bytes inflates to the largest message,
//! which costs the pod hundreds of times what it costs the client, whatever becomes of the message then.
//!
//! Pure: the time is the caller's, in milliseconds since the worker began. Always holds: a client whose messages inflate as messages do is
//! never held up; of one whose messages do not, no more is read for some seconds than the pod can bear.

/// So many times what came inflated messages may be: JSON that says the same over and over is ten times smaller, compressed.
const USUAL: usize = 32;

/// So much beyond that at once, and so much a second for long.
const AT_ONCE: u64 = 512 * 1024;
const A_SECOND: u64 = 64 * 1024;

/// More is not held against a client: it must not be silent for longer than a silent client may.
const MOST: u64 = AT_ONCE + 16 * A_SECOND;

/// So much beyond the usual in one read, and a message more is one too many.
const MOST_A_READ: usize = 1024 * 1024;

/// What a client's messages were beyond the usual. Only clients of which some were have it.
#[derive(Debug, Default)]
pub struct InflatedInput {
    owed: u64,
    at_ms: u64,
    /// Whether the end of the rest was asked for.
    rest_is_timed: bool,
}

impl InflatedInput {
    /// How much messages of `taken` bytes, of which `came` came, are beyond the usual.
    #[must_use]
    pub fn beyond(taken: usize, came: usize) -> usize {
        taken.saturating_sub(came.saturating_mul(USUAL))
    }

    /// Whether no message more is taken of one read.
    #[must_use]
    pub fn is_too_much(taken: usize, came: usize) -> bool {
        Self::beyond(taken, came) > MOST_A_READ
    }

    /// So much was beyond the usual.
    pub fn add(&mut self, beyond: usize, now_ms: u64) {
        self.owed = self.owed_at(now_ms).saturating_add(beyond as u64).min(MOST);
        self.at_ms = now_ms;
        self.rest_is_timed = false;
    }

    /// Whether the client is not to be read from now.
    #[must_use]
    pub fn rests(&self, now_ms: u64) -> bool {
        self.owed_at(now_ms) > AT_ONCE
    }

    /// When the rest ends, asked once for each.
    pub fn time_rest(&mut self) -> Option<u64> {
        let rest_ms = self.owed.saturating_sub(AT_ONCE).saturating_mul(1_000).div_ceil(A_SECOND);
        (!std::mem::replace(&mut self.rest_is_timed, true)).then_some(self.at_ms + rest_ms)
    }

    fn owed_at(&self, now_ms: u64) -> u64 {
        self.owed.saturating_sub(now_ms.saturating_sub(self.at_ms).saturating_mul(A_SECOND) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: usize = 64 * 1024;

    #[test]
    fn messages_that_inflate_as_messages_do_cost_nothing() {
        for (taken, came) in [(0, 0), (100, 90), (LARGEST, LARGEST), (LARGEST, LARGEST / 20), (20 * LARGEST, LARGEST)] {
            assert_eq!(InflatedInput::beyond(taken, came), 0);
        }
    }

    #[test]
    fn bombs_without_end_are_read_at_a_pace() {
        let (mut input, mut read, mut rest) = (InflatedInput::default(), 0, None);
        for now_ms in 0..60_000 {
            if input.rests(now_ms) {
                rest = input.time_rest().or(rest);
                continue;
            }
            assert!(rest.take().is_none_or(|ends: u64| ends == now_ms), "it is woken when the rest is over");
            input.add(InflatedInput::beyond(LARGEST, 70), now_ms);
            read += LARGEST as u64;
        }
        assert!(read > 60 * A_SECOND && read < 60 * A_SECOND + 2 * AT_ONCE, "{read}");
    }

    #[test]
    fn a_rest_is_shorter_than_a_silence_may_be_and_one_read_is_bounded() {
        let mut input = InflatedInput::default();
        input.add(64 << 20, 0);
        assert!(input.rests(15_999) && !input.rests(16_000));
        assert_eq!([input.time_rest(), input.time_rest()], [Some(16_000), None]);
        let (came, each) = (70 * 900, LARGEST);
        let messages = (0..900).take_while(|n| !InflatedInput::is_too_much(n * each, came)).count();
        assert!(messages < 50, "{messages} of 900");
        assert!(!InflatedInput::is_too_much(0, 0), "one is always taken, however large it may be");
    }
}
