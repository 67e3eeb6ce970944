//! One coarse timer wheel a worker: a deadline costs a vector's entry, and nothing on the way to it.
//!
//! Never cancels: what is due is asked whether it still cares. Always holds: nothing is due early, and late by at most
//! one tick.

/// Deadlines in milliseconds since the worker began.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// The last tick that was handed out.
    tick: u64,
    /// How long a tick is, in milliseconds.
    tick_ms: u64,
}

impl<T> Wheel<T> {
    /// How long a tick of a worker's own wheel is, in milliseconds.
    pub const TICK_MS: u64 = 500;
    /// How many ticks the wheel holds; what is due later comes up in between and is put back by its owner.
    const SLOTS: u64 = 128;

    /// An empty wheel at time 0.
    #[must_use]
    pub fn new(tick_ms: u64) -> Self {
        Self { slots: (0..Self::SLOTS).map(|_| Vec::new()).collect(), tick: 0, tick_ms: tick_ms.max(1) }
    }

    /// Puts something in for a time; one in the past is due at the next tick.
    pub fn schedule(&mut self, at_ms: u64, item: T) {
        let tick = at_ms.div_ceil(self.tick_ms).clamp(self.tick + 1, self.tick + Self::SLOTS - 1);
        self.slots[(tick % Self::SLOTS) as usize].push(item);
    }

    /// Hands out one tick that is due by `now_ms`, if there is one.
    pub fn turn(&mut self, now_ms: u64) -> Option<Vec<T>> {
        if (self.tick + 1) * self.tick_ms > now_ms {
            return None;
        }
        self.tick += 1;
        Some(std::mem::take(&mut self.slots[(self.tick % Self::SLOTS) as usize]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_early_and_little_is_late(
            tick_ms in prop::sample::select(vec![5, 100, Wheel::<usize>::TICK_MS]),
            deadlines in prop::collection::vec(0u64..60_000, 0..50),
            steps in prop::collection::vec(1u64..3_000, 60),
        ) {
            let (mut wheel, horizon) = (Wheel::new(tick_ms), tick_ms * Wheel::<usize>::SLOTS);
            let deadlines: Vec<_> = deadlines.into_iter().map(|at| at % horizon.saturating_sub(tick_ms)).collect();
            for (index, &at) in deadlines.iter().enumerate() { wheel.schedule(at, index); }
            let (mut now, mut seen) = (0, vec![false; deadlines.len()]);
            for step in steps {
                now += step;
                while let Some(due) = wheel.turn(now) {
                    for index in due {
                        prop_assert!(deadlines[index] <= now);
                        seen[index] = true;
                    }
                }
                for (index, &at) in deadlines.iter().enumerate() {
                    prop_assert!(seen[index] || at + 2 * tick_ms > now, "{at} is late at {now}");
                }
            }
        }
    }
}
