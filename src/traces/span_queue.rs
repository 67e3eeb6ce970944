//! Spans that wait to be sent. Full: the newest is dropped, and counted.
//!
//! Never waits: what hands a span in goes on, whatever the trace collector does.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::span::Span;
use crate::metrics::TraceMetrics;

/// The most spans of one request.
const BATCH: usize = 512;

/// The queue between those that make spans and the one that sends them.
#[derive(Debug)]
pub(super) struct SpanQueue {
    waiting: Mutex<VecDeque<Span>>,
    most: usize,
    full_batch: Notify,
    pub(super) metrics: TraceMetrics,
}

impl SpanQueue {
    /// An empty queue for so many spans.
    pub(super) fn new(most: usize, metrics: TraceMetrics) -> Self {
        Self { waiting: Mutex::default(), most, full_batch: Notify::new(), metrics }
    }

    /// Hands spans in.
    pub(super) fn extend(&self, spans: impl IntoIterator<Item = Span>) {
        let mut waiting = self.lock();
        let before = waiting.len();
        for span in spans {
            if waiting.len() < self.most {
                waiting.push_back(span);
            } else {
                self.metrics.dropped.increment(1);
            }
        }
        let now = waiting.len();
        drop(waiting);
        if before / BATCH < now / BATCH {
            self.full_batch.notify_one();
        }
        self.show(now);
    }

    /// The oldest spans, as many as one request has.
    pub(super) fn take(&self) -> Vec<Span> {
        let mut waiting = self.lock();
        let many = waiting.len().min(BATCH);
        let taken = waiting.drain(..many).collect();
        let left = waiting.len();
        drop(waiting);
        self.show(left);
        taken
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Waits until there are as many as one request has.
    pub(super) async fn has_a_batch(&self) {
        while self.len() < BATCH {
            self.full_batch.notified().await;
        }
    }

    fn show(&self, waiting: usize) {
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        self.metrics.waiting.set(waiting as f64);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
