//! Connections that come and go: when the next one is due, how long it stays, what came of all.

use std::{collections::VecDeque, sync::Arc};

use rustls::ClientConfig;

use super::{
    connection::Connection,
    control::{Join, VisitReport, Visits},
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
    /// Where they go in turns: to one pod, or to two.
    joins: Vec<Join>,
    fresh: Arc<ClientConfig>,
    /// One for each of `joins`.
    resuming: Vec<Arc<ClientConfig>>,
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
        let resuming = match visits.another {
            Some(_) => tls::crossed()?.into(),
            None => vec![tls::resuming()?],
        };
        let another = visits.another.map(|address| Join { address, ..visits.join.clone() });
        Ok(Self {
            joins: [visits.join.clone()].into_iter().chain(another).collect(),
            visits,
            fresh: Arc::new(tls::fresh()?),
            resuming: resuming.into_iter().map(Arc::new).collect(),
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

    /// Where the next one goes, and the configuration that spreads the share of resumptions evenly.
    pub(super) fn next(&self) -> (&Join, Arc<ClientConfig>) {
        let pods = self.joins.len() as u64;
        // Counted for each pod by itself, so that half of the visits of two do not all go to one of them.
        let (pod, turn) = ((self.begun % pods) as usize, self.begun / pods);
        let share = u64::from(self.visits.resume_percent.min(100));
        let resumes = (turn + 1) * share / 100 > turn * share / 100;
        (&self.joins[pod], Arc::clone(if resumes { &self.resuming[pod] } else { &self.fresh }))
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
