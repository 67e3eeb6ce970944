//! A token bucket for a connection's commands: an error first, and a close if it goes on.
//!
//! Refusals are forgotten at the rate at which commands are taken. Always holds: a client that asks for less than twice the rate is
//! refused now and then, and never closed.

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
    /// Thousandths of a refusal.
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
        self.take_for(1, per_second, burst, now_ms)
    }

    /// Takes out what a command costs, by what it makes the pod do. Nothing costs more than a whole burst.
    pub fn take_for(&mut self, cost: u32, per_second: u32, burst: u32, now_ms: u64) -> Verdict {
        // `per_second` commands a second are as many thousandths a millisecond.
        let gained = now_ms.saturating_sub(self.filled).saturating_mul(u64::from(per_second));
        let level = u64::from(self.level).saturating_add(gained).min(u64::from(burst) * 1000);
        self.level = u32::try_from(level).unwrap_or(u32::MAX);
        self.refused = self.refused.saturating_sub(u32::try_from(gained).unwrap_or(u32::MAX));
        self.filled = now_ms;
        let cost = cost.clamp(1, burst.max(1)).saturating_mul(1000);
        if self.level >= cost {
            self.level -= cost;
            if self.level >= burst.saturating_mul(500) {
                self.refused = 0;
            }
            return Verdict::Fine;
        }
        self.refused = self.refused.saturating_add(1000);
        if self.refused > burst.max(1).saturating_mul(1000) { Verdict::Flood } else { Verdict::Limited }
    }

    /// Whether nothing is missing: a new bucket would be the same.
    #[must_use]
    pub fn is_full(&self, per_second: u32, burst: u32, now_ms: u64) -> bool {
        let gained = now_ms.saturating_sub(self.filled).saturating_mul(u64::from(per_second));
        let is_forgiven = u64::from(self.refused) <= gained;
        is_forgiven && u64::from(self.level).saturating_add(gained) >= u64::from(burst) * 1000
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
        assert_eq!([take(100), take(100), take(100)], [Verdict::Limited; 3], "the refusal before is forgotten");
        assert_eq!(take(100), Verdict::Flood);
        assert_eq!(take(1_000), Verdict::Fine);
    }

    #[test]
    fn less_than_twice_the_rate_is_refused_and_never_closed() {
        let mut bucket = Bucket::new(20, 0);
        let verdicts: Vec<_> = (0..5_000).map(|n| bucket.take(10, 20, n * 53)).collect();
        let refused = verdicts.iter().filter(|verdict| **verdict == Verdict::Limited).count();
        assert!((2_000..2_500).contains(&refused), "{refused} of 5,000 at 19 a second");
        assert!(!verdicts.contains(&Verdict::Flood));
    }

    #[test]
    fn it_is_as_new_once_its_refusals_are_forgotten() {
        let mut bucket = Bucket::new(1, 0);
        assert!(bucket.is_full(1, 1, 0));
        assert_eq!([bucket.take(1, 1, 0), bucket.take(1, 1, 0)], [Verdict::Fine, Verdict::Limited]);
        (0..4).for_each(|_| _ = bucket.take(1, 1, 0));
        assert!(!bucket.is_full(1, 1, 1_000) && bucket.is_full(1, 1, 5_000));
    }

    #[test]
    fn what_costs_more_empties_it_sooner() {
        let mut bucket = Bucket::new(10, 0);
        let mut take = |cost, now| bucket.take_for(cost, 10, 10, now);
        assert_eq!([take(4, 0), take(4, 0)], [Verdict::Fine; 2]);
        assert_eq!([take(4, 0), take(2, 0)], [Verdict::Limited, Verdict::Fine]);
        assert_eq!(take(1_000, 5_000), Verdict::Fine, "a full one pays for anything");
        assert_eq!(take(1, 5_000), Verdict::Limited);
    }
}
