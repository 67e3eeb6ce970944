//! Why a home ended an edge's link, or the link itself.

use crate::metrics::RelayMetrics;

/// What a home counts of links that it cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutReason {
    /// The edge said nothing for too long, or did not finish what it began to say.
    Silent,
    /// It does not take what it is told, or too slowly.
    Slow,
    /// It said what no edge says.
    Words,
    /// It holds more here than one may.
    Limit,
}

/// The end of a link.
#[derive(Debug)]
pub(super) struct LinkEnd {
    cut: Option<CutReason>,
    /// A sentence, for the logs of both pods.
    pub(super) why: String,
}

impl LinkEnd {
    /// The link ended by itself, or no longer may be.
    pub(super) fn of(why: impl Into<String>) -> Self {
        Self { cut: None, why: why.into() }
    }

    /// This pod cuts it.
    pub(super) fn cut(reason: CutReason, why: impl Into<String>) -> Self {
        Self { cut: Some(reason), why: why.into() }
    }

    /// Counts it and tells the log.
    pub(super) fn tell(&self, metrics: &RelayMetrics, edge: &str, link: u64) {
        let why = &self.why;
        let Some(reason) = self.cut else {
            tracing::info!(edge, link, why, "the link of an edge has ended");
            return;
        };
        match reason {
            CutReason::Silent => &metrics.cut_silent,
            CutReason::Slow => &metrics.cut_slow,
            CutReason::Words => &metrics.cut_words,
            CutReason::Limit => &metrics.cut_limit,
        }
        .increment(1);
        tracing::warn!(edge, link, why, "the link of an edge was cut");
    }
}
