//! What is known of one link to a home, whether it stands or not: since when, how late, how many bytes. Without I/O.
//!
//! Owns no link and decides nothing. Always holds: an event costs one comparison here, whatever is read of it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use roomcast_incident::{Incident, ResolvedIncident};

use crate::model::LinkStatus;

/// How often the spans of lags change. What is shown is of the last one or two.
pub(super) const SPAN: Duration = Duration::from_secs(10);

/// A link that stood for so long was a good one.
pub(super) const GOOD: Duration = Duration::from_secs(5);

/// A link's account since the start of this pod.
pub(super) struct LinkLedger {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The largest lag (ms) of this span and of the one before, plus one; 0: no event came.
    lags: [AtomicU64; 2],
    /// From the last sign of life to its answer (ms), plus one; 0: there was none on this link.
    round_trip: AtomicU64,
    state: Mutex<LedgerState>,
    /// Whether there is no link, or none that was good yet.
    outage: Incident,
}

struct LedgerState {
    /// The home's pod; `None`: it does not stand.
    pod: Option<String>,
    since: Instant,
    why: Option<String>,
}

impl LinkLedger {
    /// Of a link that does not stand yet.
    pub(super) fn new(now: Instant) -> Self {
        let state = Mutex::new(LedgerState { pod: None, since: now, why: None });
        Self {
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            lags: [AtomicU64::new(0), AtomicU64::new(0)],
            round_trip: AtomicU64::new(0),
            state,
            outage: Incident::calm(GOOD),
        }
    }

    fn state(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came from the home.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes went to it.
    pub(super) fn went(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    /// An event came, so many milliseconds after the home had accepted it.
    pub(super) fn lagged(&self, ms: u64) {
        let [newest, _] = &self.lags;
        newest.fetch_max(ms.saturating_add(1), Relaxed);
    }

    /// A sign of life was answered after so many milliseconds. The outage that is over with it, if the log was told of one.
    pub(super) fn answered(&self, ms: u64, now: Instant) -> Option<ResolvedIncident> {
        self.round_trip.store(ms.saturating_add(1), Relaxed);
        self.outage.succeeds(now)
    }

    /// The link stands. Whether the log is to be told: of one that stands again it is told once that was a good one.
    pub(super) fn stands(&self, pod: &str, now: Instant) -> bool {
        *self.state() = LedgerState { pod: Some(pod.to_owned()), since: now, why: None };
        !self.outage.lasts()
    }

    /// It has ended, or could not be made. Whether the log is to be told.
    pub(super) fn ended(&self, why: &str, now: Instant) -> bool {
        let mut state = self.state();
        if state.pod.take().is_some() {
            state.since = now;
        }
        state.why = Some(why.to_owned());
        self.round_trip.store(0, Relaxed);
        self.outage.fails_for(why, now)
    }

    /// Begins another span of lags; to be called once in [`SPAN`].
    pub(super) fn turn(&self) {
        let [newest, before] = &self.lags;
        before.store(newest.swap(0, Relaxed), Relaxed);
    }

    /// What is shown of it.
    pub(super) fn show(&self, home: &str, leads: bool, rooms: usize, now: Instant) -> LinkStatus {
        let state = self.state();
        let [newest, before] = &self.lags;
        let since = now.saturating_duration_since(state.since).as_millis();
        LinkStatus {
            home: home.to_owned(),
            pod: state.pod.clone(),
            since_ms: u64::try_from(since).unwrap_or(u64::MAX),
            error: state.why.clone(),
            leads,
            rooms,
            lag_ms: newest.load(Relaxed).max(before.load(Relaxed)).checked_sub(1),
            round_trip_ms: self.round_trip.load(Relaxed).checked_sub(1),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_shown_as_it_is_and_since_when() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let ledger = LinkLedger::new(began);
        let show = |seconds| ledger.show("wss://home", false, 3, at(seconds));
        assert_eq!((show(1).stands(), show(1).since_ms, show(1).error), (false, 1_000, None));
        assert!(ledger.ended("connection refused", at(2)) && ledger.ended("connection timed out", at(3)));
        assert!(!ledger.ended("connection timed out", at(3)), "that is known");
        let cut = show(4);
        assert_eq!((cut.since_ms, cut.error.as_deref()), (4_000, Some("connection timed out")));
        assert!(!ledger.stands("pod", at(5)));
        ledger.came(10);
        ledger.went(2);
        assert_eq!(ledger.answered(0, at(7)), None, "it may go at once");
        let stands = show(7);
        assert_eq!((stands.pod.as_deref(), stands.since_ms, stands.error), (Some("pod"), 2_000, None));
        assert_eq!((stands.bytes_in, stands.bytes_out, stands.round_trip_ms, stands.rooms), (10, 2, Some(0), 3));
        assert!(ledger.ended("the home ended the link", at(8)));
        let cut = show(9);
        assert_eq!((cut.since_ms, cut.round_trip_ms, cut.bytes_in), (1_000, None, 10));
        ledger.stands("pod", at(10));
        let over = ledger.answered(0, at(13)).map(|over| (over.lasted, over.failures));
        assert_eq!(over, Some((Duration::from_secs(6), 4)));
        assert!(ledger.stands("pod", at(14)), "nothing was wrong since");
    }

    #[test]
    fn the_lag_is_the_largest_of_the_last_two_spans() {
        let now = Instant::now();
        let ledger = LinkLedger::new(now);
        let lag = || ledger.show("", false, 0, now).lag_ms;
        assert_eq!(lag(), None);
        ledger.lagged(0);
        assert_eq!(lag(), Some(0));
        ledger.lagged(900);
        ledger.turn();
        ledger.lagged(20);
        assert_eq!(lag(), Some(900));
        ledger.turn();
        assert_eq!(lag(), Some(20));
        ledger.turn();
        assert_eq!(lag(), None);
    }
}
