//! Connections that come and go: when the next one is due, how long it stays, what came of all.

use std::{collections::VecDeque, sync::Arc};

use rustls::ClientConfig;

use super::{
    connection::Connection,
    control::{VisitReport, Visits},
    tls,
};
use crate::{clock, error::BenchError, stats::Latencies};

/// How long a connection stays.
pub(super) enum Stay {
    /// Until the end of the process.
    Forever,
    /// It leaves once it is open.
    UntilOpen,
    /// It leaves this long after it became a member, in nanoseconds.
    For(u64),
}

/// A `Visit` under way.
pub(super) struct Visiting {
    pub(super) visits: Visits,
    fresh: Arc<ClientConfig>,
    resuming: Arc<ClientConfig>,
    pub(super) begun: u64,
    pub(super) open: usize,
    pub(super) start: u64,
    pub(super) told: u64,
    /// (when, which, started when) of the members, in the order of their leaving.
    pub(super) leaving: VecDeque<(u64, usize, u64)>,
    pub(super) latency: Latencies,
    pub(super) report: VisitReport,
}

impl Visiting {
    /// Begins now.
    pub(super) fn new(visits: Visits, now: u64) -> Result<Self, BenchError> {
        Ok(Self {
            visits,
            fresh: Arc::new(tls::config(false)?),
            resuming: Arc::new(tls::config(true)?),
            begun: 0,
            open: 0,
            start: now,
            told: now,
            leaving: VecDeque::new(),
            latency: Latencies::new(),
            report: VisitReport::default(),
        })
    }

    /// Whether it is time for another one; `elapsed` seconds have passed.
    pub(super) fn may_begin(&self, elapsed: f64) -> bool {
        let due = self.visits.per_second.is_none_or(|rate| (self.begun as f64) < elapsed * rate);
        due && self.open - self.leaving.len().min(self.open) < self.visits.join.in_flight
    }

    /// How long the next one stays.
    pub(super) fn stay(&self) -> Stay {
        self.visits.stay_ms.map_or(Stay::UntilOpen, |milliseconds| Stay::For(milliseconds * 1_000_000))
    }

    /// The configuration that spreads the share of resumptions evenly.
    pub(super) fn next_tls(&self) -> Arc<ClientConfig> {
        let share = u64::from(self.visits.resume_percent.min(100));
        let resumes = (self.begun + 1) * share / 100 > self.begun * share / 100;
        Arc::clone(if resumes { &self.resuming } else { &self.fresh })
    }

    /// A visitor got in.
    pub(super) fn arrived(&mut self, connection: &Connection) {
        self.latency.record(clock::now().saturating_sub(connection.started));
        self.report.opened += 1;
        self.report.resumed += u64::from(connection.link.resumed());
    }

    /// Those whose time is over: which, and started when.
    pub(super) fn due(&mut self, now: u64) -> Vec<(usize, u64)> {
        let mut due = Vec::new();
        while let Some(&(when, key, started)) = self.leaving.front()
            && when <= now
        {
            self.leaving.pop_front();
            due.push((key, started));
        }
        due
    }
}
