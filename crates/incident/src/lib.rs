//! A time in which one thing fails, and what the log is told of it: one line when it begins, one when it is over.
//!
//! No I/O, no clock: it is told what failed and succeeded, and when, and answers whether that is a line. Always holds: an end is told only
//! where a beginning was; an incident has one line for its beginning, one for its end, and at most [`MOST_REASONS`] - 1 in between.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

/// The most reasons that are told of one incident.
pub const MOST_REASONS: usize = 4;

/// A time of a clock: an `Instant`, a `SystemTime`, or the time since any fixed moment.
pub trait Moment: Copy {
    /// How long ago `earlier` was; zero, where it is not earlier.
    fn since(self, earlier: Self) -> Duration;
}

impl Moment for Instant {
    fn since(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl Moment for SystemTime {
    fn since(self, earlier: Self) -> Duration {
        self.duration_since(earlier).unwrap_or_default()
    }
}

impl Moment for Duration {
    fn since(self, earlier: Self) -> Duration {
        self.saturating_sub(earlier)
    }
}

/// Whether one thing fails now.
#[derive(Debug)]
pub struct Incident<T = Instant> {
    calm: Duration,
    apart: Duration,
    /// Whether there is an open one: so that a success costs one load where there is none.
    lasts: AtomicBool,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    open: Option<OpenIncident<T>>,
    /// When a failure was told last.
    told: Option<T>,
}

#[derive(Debug)]
struct OpenIncident<T> {
    began: T,
    /// The last failure.
    last: T,
    failures: u64,
    is_told: bool,
    /// Those that were told.
    reasons: Vec<String>,
}

/// An incident that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedIncident {
    /// From the first failure to the success that ended it; where calm ends it, to the last failure.
    pub lasted: Duration,
    /// How many attempts failed in it.
    pub failures: u64,
}

impl ResolvedIncident {
    /// How long it lasted, in seconds, to the millisecond.
    // Milliseconds of any life of a process are exact.
    #[allow(clippy::cast_precision_loss)]
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.lasted.as_millis() as f64 / 1_000.0
    }
}

impl<T: Moment> Incident<T> {
    /// Nothing failed so far. The first success ends an incident.
    #[must_use]
    pub const fn new() -> Self {
        Self::calm(Duration::ZERO)
    }

    /// Nothing failed so far. An incident is over once nothing has failed for `calm`.
    #[must_use]
    pub const fn calm(calm: Duration) -> Self {
        let state = Mutex::new(State { open: None, told: None });
        Self { calm, apart: Duration::ZERO, lasts: AtomicBool::new(false), state }
    }

    /// The same, but a beginning is told no sooner than `apart` after the line before it. What fails still is told then.
    #[must_use]
    pub const fn apart(mut self, apart: Duration) -> Self {
        self.apart = apart;
        self
    }

    /// It failed. Whether the log is to be told: it begins.
    #[must_use]
    pub fn fails(&self, now: T) -> bool {
        self.note(1, None, now)
    }

    /// It failed so many times. Whether the log is to be told: it begins.
    #[must_use]
    pub fn fails_times(&self, times: u64, now: T) -> bool {
        times > 0 && self.note(times, None, now)
    }

    /// It failed for a reason. Whether the log is to be told: it begins, or the reason is another one.
    #[must_use]
    pub fn fails_for(&self, reason: &str, now: T) -> bool {
        self.note(1, Some(reason), now)
    }

    fn note(&self, times: u64, reason: Option<&str>, now: T) -> bool {
        let mut state = self.state();
        let State { open, told } = &mut *state;
        let incident = open.get_or_insert_with(|| OpenIncident {
            began: now,
            last: now,
            failures: 0,
            is_told: false,
            reasons: Vec::new(),
        });
        incident.last = now;
        incident.failures = incident.failures.saturating_add(times);
        self.lasts.store(true, Relaxed);
        let is_due = if incident.is_told {
            let is_other = |reason: &str| !incident.reasons.iter().any(|known| known == reason);
            incident.reasons.len() < MOST_REASONS && reason.is_some_and(is_other)
        } else {
            told.is_none_or(|told| now.since(told) >= self.apart)
        };
        if is_due {
            incident.is_told = true;
            incident.reasons.extend(reason.map(str::to_owned));
            *told = Some(now);
        }
        is_due
    }

    /// It succeeded, or time has passed. The incident, if that ends one of which the log was told.
    #[must_use]
    pub fn succeeds(&self, now: T) -> Option<ResolvedIncident> {
        if !self.lasts() {
            return None;
        }
        self.end(now, |open| now.since(open.last) >= self.calm)
    }

    /// What fails is no more. The incident, if the log was told of it.
    #[must_use]
    pub fn ends(&self, now: T) -> Option<ResolvedIncident> {
        self.end(now, |_| true)
    }

    fn end(&self, now: T, is_over: impl FnOnce(&OpenIncident<T>) -> bool) -> Option<ResolvedIncident> {
        let mut state = self.state();
        let incident = state.open.take_if(|open| is_over(open))?;
        self.lasts.store(false, Relaxed);
        let end = if self.calm.is_zero() { now } else { incident.last };
        let resolved = ResolvedIncident { lasted: end.since(incident.began), failures: incident.failures };
        incident.is_told.then_some(resolved)
    }

    /// Whether it fails now, told or not.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.lasts.load(Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Moment> Default for Incident<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn resolved(lasted: Duration, failures: u64) -> Option<ResolvedIncident> {
        Some(ResolvedIncident { lasted, failures })
    }

    #[test]
    fn an_incident_is_two_lines_however_often_it_fails() {
        let incident = Incident::new();
        assert!(incident.succeeds(SECOND).is_none() && !incident.lasts());
        let told: Vec<_> = (2..1_000).map(|at| incident.fails(at * SECOND)).collect();
        assert!(told[0] && told.iter().skip(1).all(|told| !told) && incident.lasts());
        assert_eq!(incident.succeeds(1_000 * SECOND), resolved(998 * SECOND, 998));
        assert!(incident.succeeds(1_001 * SECOND).is_none() && !incident.lasts());
        assert!(incident.fails(1_002 * SECOND), "another one");
        assert_eq!(incident.ends(1_003 * SECOND), resolved(SECOND, 1));
        assert_eq!(incident.ends(1_004 * SECOND), None);
    }

    #[test]
    fn a_success_among_failures_ends_nothing_where_calm_is_wanted() {
        let incident = Incident::calm(10 * SECOND);
        let at = Duration::from_millis;
        let lines = (0..10_000).filter(|ms| incident.fails(at(*ms)) || incident.succeeds(at(*ms)).is_some()).count();
        assert_eq!(lines, 1);
        assert!(incident.succeeds(at(19_998)).is_none() && incident.lasts());
        assert_eq!(incident.succeeds(at(19_999)), resolved(at(9_999), 10_000));
        assert!(incident.fails_times(7, at(20_000)) && !incident.fails_times(0, at(20_001)));
        assert_eq!(incident.ends(at(20_002)), resolved(Duration::ZERO, 7));
        assert!(!incident.fails_times(0, at(20_003)) && !incident.lasts());
    }

    #[test]
    fn another_reason_is_a_line_and_there_are_few_of_them() {
        let incident = Incident::new();
        let told = |reason| incident.fails_for(reason, SECOND);
        assert_eq!(["refused", "timeout", "refused", "timeout"].map(told), [true, true, false, false]);
        let many = (0..1_000).filter(|n| incident.fails_for(&format!("port {n}"), SECOND)).count();
        assert_eq!(many, MOST_REASONS - 2);
        assert_eq!(incident.succeeds(3 * SECOND), resolved(2 * SECOND, 1_004));
        assert!(told("refused"), "of another incident");
    }

    #[test]
    fn what_comes_and_goes_has_a_pair_of_lines_in_that_time() {
        let incident = Incident::new().apart(60 * SECOND);
        assert!(incident.fails(SECOND) && incident.succeeds(2 * SECOND).is_some());
        let lines = (3..61).filter(|at| incident.fails(*at * SECOND) || incident.succeeds(*at * SECOND).is_some());
        assert_eq!(lines.count(), 0, "neither a beginning nor an end");
        assert!(!incident.fails_for("a", 60 * SECOND) && incident.fails_for("b", 61 * SECOND), "it goes on");
        assert_eq!(incident.succeeds(63 * SECOND), resolved(3 * SECOND, 2), "it began when it began");
    }

    #[test]
    fn any_clock_will_do_and_one_that_is_set_back_does_no_harm() {
        let (incident, now) = (Incident::new(), Instant::now());
        assert!(incident.fails(now));
        assert_eq!(incident.succeeds(now + SECOND), resolved(SECOND, 1));
        let (incident, now) = (Incident::new(), SystemTime::now());
        assert!(incident.fails(now));
        let over = incident.succeeds(now - SECOND);
        assert_eq!(over, resolved(Duration::ZERO, 1));
        assert!(
            (ResolvedIncident { lasted: Duration::from_micros(61_234_567), failures: 1 }.seconds() - 61.234).abs()
                < 1e-9
        );
    }
}
