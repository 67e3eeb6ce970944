//! The edges of a home as an operator sees them.
//!
//! Never asks an edge. Bounded: of [`TreeStatus::MOST_EDGES`] links is told, however many there are.

use std::{
    cmp::Reverse,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{edges::EdgeLink, home::Home};
use crate::model::{EdgeStatus, TreeStatus};

impl Home {
    /// How many links of edges there are, and those of them that carried most.
    #[must_use]
    pub fn edges(&self, now: Instant) -> (usize, Vec<EdgeStatus>) {
        let links = self.edges.all();
        let count = links.len();
        let mut shown: Vec<EdgeStatus> = links.iter().map(|link| show(link, now)).collect();
        shown.sort_by_key(|edge| Reverse(edge.bytes_out));
        shown.truncate(TreeStatus::MOST_EDGES);
        (count, shown)
    }
}

fn show(link: &Arc<EdgeLink>, now: Instant) -> EdgeStatus {
    EdgeStatus {
        pod: link.pod.clone(),
        leads: link.leads.load(Relaxed),
        queued_bytes: link.queue.bytes(),
        dropped: link.queue.refused(),
        ..link.account.show(now)
    }
}
