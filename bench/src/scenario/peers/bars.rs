//! What the figures are held to: ratios of one run, repetition by repetition.

use std::fmt;

use serde::Serialize;

use super::{
    load::{Load, Loads},
    rates::{Cell, Round, XADD},
    sides::{CENTRIFUGO, EMBEDDED, Over, REFERENCE, THIS},
    slow::Slow,
};
use crate::{report::spread, stats::Spread};

/// From so many events a call on, a publish must cost Redis as little as many do.
const MANY_A_CALL: f64 = 8.0;

/// A ratio and what it must be.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub(super) what: String,
    pub(super) ratio: Spread,
    pub(super) bound: Bound,
}

/// What the median of a ratio must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    pub(super) fn is_kept(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.ratio.median <= most,
            Bound::AtLeast(least) => self.ratio.median >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.what, spread(&self.ratio, 2), self.bound)
    }
}

/// All bars for whose figures there is what they are compared with.
pub(super) fn of(over: Over, cells: &[Cell], slow: &[Slow], loads: Loads) -> Vec<Bar> {
    let mut bars = Bars { cells, loads, bars: Vec::new() };
    let redis: fn(&Round) -> f64 = |round| round.redis_cpu_us;
    let rate: fn(&Round) -> f64 = |round| round.per_second;
    let own: fn(&Round) -> f64 = |round| round.own_cpu_us;
    for load in [Load::Callers, Load::Crowd, Load::Once] {
        bars.add("Redis' CPU an event", redis, load, (CENTRIFUGO, load), Bound::AtMost(0.7));
    }
    for load in [Load::Callers, Load::Crowd] {
        bars.add("events/s", rate, load, (CENTRIFUGO, load), Bound::AtLeast(1.0));
    }
    match over {
        Over::One => {
            for (load, least) in [(Load::Callers, 1.7), (Load::Crowd, 1.7), (Load::Batch, 3.0)] {
                bars.add("events/s", rate, load, (REFERENCE, load), Bound::AtLeast(least));
            }
            bars.add("own CPU an event", own, Load::Callers, (EMBEDDED, Load::Callers), Bound::AtMost(1.3));
        }
        Over::Cluster => {
            for load in Load::ALL {
                let a_call = bars.cell(THIS, load).map_or(0.0, |cell| cell.spread(|round| round.events_a_call).median);
                let what = format!("Redis' CPU an event, {a_call:.1} events a call");
                if a_call >= MANY_A_CALL && load != Load::Once {
                    bars.add(&what, redis, load, (XADD, Load::Callers), Bound::AtMost(3.0));
                } else if load == Load::Lone {
                    bars.add(&what, redis, load, (XADD, Load::Callers), Bound::AtMost(5.5));
                }
            }
        }
    }
    let of = |who: &str| slow.iter().find(|slow| slow.who == who);
    if let (Some(this), Some(reference)) = (of(THIS), of(REFERENCE)) {
        let figures =
            [("p50", this.over(reference, |times| times.p50)), ("p99", this.over(reference, |times| times.p99))];
        bars.bars.extend(figures.into_iter().filter_map(|(name, ratio)| {
            let what = format!("{name} of an answer at a low rate, to {REFERENCE}");
            Some(Bar { what, ratio: ratio?, bound: Bound::AtMost(1.0) })
        }));
    }
    bars.bars
}

struct Bars<'a> {
    cells: &'a [Cell],
    loads: Loads,
    bars: Vec<Bar>,
}

impl<'a> Bars<'a> {
    fn cell(&self, who: &str, load: Load) -> Option<&'a Cell> {
        self.cells.iter().find(|cell| cell.who == who && cell.load == load)
    }

    /// This build's figure over another's, if both were measured.
    fn add(&mut self, what: &str, figure: fn(&Round) -> f64, load: Load, other: (&str, Load), bound: Bound) {
        let (Some(this), Some(that)) = (self.cell(THIS, load), self.cell(other.0, other.1)) else { return };
        let what = format!("{what}, {}, to {}", load.name(&self.loads), other.0);
        self.bars.extend(this.over(that, figure).map(|ratio| Bar { what, ratio, bound }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(who: &str, load: Load, redis_cpu_us: f64) -> Cell {
        let round = Round { events: 1, per_second: 100.0, redis_cpu_us, own_cpu_us: 1.0, events_a_call: 9.0 };
        Cell { who: who.to_owned(), load, rounds: vec![round] }
    }

    #[test]
    fn a_bar_is_kept_or_missed_and_needs_both_figures() {
        let loads = Loads { callers: 64, crowd: 1_000, batch: 100 };
        let cells =
            [cell(THIS, Load::Callers, 10.0), cell(CENTRIFUGO, Load::Callers, 20.0), cell(XADD, Load::Callers, 3.0)];
        let bars = of(Over::Cluster, &cells, &[], loads);
        let said: Vec<_> = bars.iter().map(|bar| (bar.ratio.median, bar.bound, bar.is_kept())).collect();
        assert_eq!(said[0], (0.5, Bound::AtMost(0.7), true));
        assert_eq!(said[1], (1.0, Bound::AtLeast(1.0), true));
        assert_eq!((said[2].1, said[2].2), (Bound::AtMost(3.0), false));
        assert_eq!(said.len(), 3, "{bars:?}");
    }
}
