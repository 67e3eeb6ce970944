//! A token bucket for a connection's commands: an error first, and a close if it goes on.

/// How a command stands against the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within it.
    Fine,
    /// Above it: refused with an error.
    Limited,
    /// Above it for a whole burst more: the connection is closed.
    Flood,
}

/// Sixteen bytes a connection. Time is in milliseconds since the worker began.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Thousandths of a command.
    level: u32,
    refused: u32,
    filled: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(burst: u32, now_ms: u64) -> Self {
        Self { level: burst.saturating_mul(1000), refused: 0, filled: now_ms }
    }

    /// Takes one command out.
    pub fn take(&mut self, per_second: u32, burst: u32, now_ms: u64) -> Verdict {
        // `per_second` commands a second are as many thousandths a millisecond.
        let gained = now_ms.saturating_sub(self.filled).saturating_mul(u64::from(per_second));
        let level = u64::from(self.level).saturating_add(gained).min(u64::from(burst) * 1000);
        self.level = u32::try_from(level).unwrap_or(u32::MAX);
        self.filled = now_ms;
        if self.level >= 1000 {
            self.level -= 1000;
            if self.level >= burst.saturating_mul(500) {
                self.refused = 0;
            }
            return Verdict::Fine;
        }
        self.refused += 1;
        if self.refused > burst.max(1) { Verdict::Flood } else { Verdict::Limited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_then_a_close() {
        let mut bucket = Bucket::new(3, 0);
        let mut take = |now| bucket.take(10, 3, now);
        assert_eq!([take(0), take(0), take(0)], [Verdict::Fine; 3]);
        assert_eq!(take(0), Verdict::Limited);
        assert_eq!(take(100), Verdict::Fine, "a tenth of a second refills one");
        assert_eq!(take(100), Verdict::Limited);
        assert_eq!(take(100), Verdict::Limited);
        assert_eq!(take(100), Verdict::Flood);
        assert_eq!(take(1_000), Verdict::Fine);
    }
}
