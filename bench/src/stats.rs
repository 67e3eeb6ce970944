//! Latency distributions that processes can hand to each other, and medians with their spread.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A distribution of durations in nanoseconds, three significant digits, up to ten minutes.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// A distribution on its way from one process to another: each bucket's value and count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Buckets(Vec<(u64, u64)>);

/// The figures that are reported of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// How many were measured.
    pub(crate) count: u64,
    /// Half are faster.
    pub(crate) p50: f64,
    /// One in twenty is slower.
    pub(crate) p95: f64,
    /// One in a hundred is slower.
    pub(crate) p99: f64,
    /// One in a thousand is slower.
    pub(crate) p999: f64,
    /// The slowest.
    pub(crate) max: f64,
}

/// The middle of several repetitions, and how far they lie apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

const LONGEST: u64 = 600_000_000_000;

impl Latencies {
    /// An empty distribution.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1_000, LONGEST, 3).unwrap_or_else(|_| unreachable!("the bounds are constants")))
    }

    /// Adds one duration.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// Adds another distribution.
    pub(crate) fn add(&mut self, other: &Self) {
        // Cannot fail: both have the same bounds.
        self.0 += &other.0;
    }

    /// For another process.
    pub(crate) fn buckets(&self) -> Buckets {
        Buckets(self.0.iter_recorded().map(|b| (b.value_iterated_to(), b.count_at_value())).collect())
    }

    /// Adds another process' distribution.
    pub(crate) fn merge(&mut self, buckets: &Buckets) {
        for &(value, count) in &buckets.0 {
            self.0.saturating_record_n(value, count);
        }
    }

    /// The figures.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        let max = if self.0.is_empty() { 0.0 } else { milliseconds(self.0.max()) };
        Percentiles { count: self.0.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }

    /// The curve for a plot: (nines, milliseconds), where one nine is 90%, two are 99%.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let nines = (0..=100).map(|i| f64::from(i) / 25.0);
        nines.map(|nines| (nines, milliseconds(self.0.value_at_quantile(1.0 - 10f64.powf(-nines))))).collect()
    }
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max })
    }
}

/// Nanoseconds as milliseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_distributions_equal_one() {
        let (mut one, mut left, mut right, mut merged) =
            (Latencies::new(), Latencies::new(), Latencies::new(), Latencies::new());
        for i in 1..=10_000u64 {
            one.record(i * 100_000);
            if i % 3 == 0 { &mut left } else { &mut right }.record(i * 100_000);
        }
        merged.merge(&left.buckets());
        merged.merge(&right.buckets());
        assert_eq!(merged.percentiles(), one.percentiles());
        let figures = merged.percentiles();
        assert_eq!(figures.count, 10_000);
        for (figure, exact) in [
            (figures.p50, 500.0),
            (figures.p95, 950.0),
            (figures.p99, 990.0),
            (figures.p999, 999.0),
            (figures.max, 1000.0),
        ] {
            assert!((figure - exact).abs() / exact < 0.002, "{figure} is not {exact}");
        }
    }

    #[test]
    fn an_empty_distribution_says_zero() {
        assert_eq!(Latencies::new().percentiles(), Percentiles::default());
    }

    #[test]
    fn the_spread_of_odd_and_even_numbers() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
