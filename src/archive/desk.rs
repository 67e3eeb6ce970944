//! Where publishers hand in what is to be written, and where the connections that write take it.
//!
//! Owns what waits, and whether the database is reached. Always holds: an outage has one line in the log when it begins and one when it ends.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use roomcast_incident::Incident;
use tokio::sync::{Notify, oneshot};

use super::{
    book::{Write, WriteBook, WriteJob},
    connection::Dial,
    error::ArchiveError,
    pending_row::RowId,
};
use crate::{metrics::ArchiveMetrics, model::Position};

/// What waits, and what the connections that write share.
pub(super) struct WriteDesk {
    pub(super) dial: Dial,
    pub(super) metrics: ArchiveMetrics,
    book: Mutex<WriteBook>,
    /// Something waits to be written.
    more: Notify,
    connected: AtomicUsize,
    /// Whether the database is not reached.
    outage: Incident,
}

impl WriteDesk {
    pub(super) fn new(dial: Dial, metrics: ArchiveMetrics) -> Self {
        Self {
            book: Mutex::new(WriteBook::new(dial.timeout(), Instant::now())),
            dial,
            metrics,
            more: Notify::new(),
            connected: AtomicUsize::new(0),
            outage: Incident::new(),
        }
    }

    /// Whether a connection serves.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed) > 0
    }

    /// Writes, with whatever waits beside it.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn write(&self, write: Write) -> Result<(), ArchiveError> {
        let (answer, told) = oneshot::channel();
        self.book().push(write, answer, Instant::now())?;
        self.more.notify_one();
        told.await.unwrap_or(Err(ArchiveError::Unknown))
    }

    /// Writes some time.
    pub(super) fn write_later(&self, write: Write) {
        self.book().push_patient(write);
        self.more.notify_one();
    }

    /// What a connection writes next, when there is something.
    pub(super) async fn next(&self) -> Vec<WriteJob> {
        loop {
            {
                let mut book = self.book();
                let jobs = book.take();
                if book.waiting() > 0 {
                    self.more.notify_one();
                }
                if !jobs.is_empty() {
                    return jobs;
                }
            }
            self.more.notified().await;
        }
    }

    /// Takes back what a connection did not write.
    pub(super) fn put_back(&self, jobs: Vec<WriteJob>) {
        if !jobs.is_empty() {
            self.book().put_back(jobs);
            self.more.notify_one();
        }
    }

    /// Takes in positions of whose epochs the archive has no life yet.
    pub(super) fn put_unplaced(&self, some: Vec<(RowId, Position)>) {
        self.book().put_unplaced(some);
    }

    /// Some of them.
    pub(super) fn take_unplaced(&self, most: usize) -> Vec<(RowId, Position)> {
        self.book().take_unplaced(most)
    }

    /// How many writes wait.
    pub(super) fn waiting(&self) -> usize {
        self.book().waiting()
    }

    /// Answers publishers that have waited long enough.
    pub(super) fn expire(&self) {
        let waiting = {
            let mut book = self.book();
            book.expire(Instant::now());
            book.waiting()
        };
        self.metrics.waiting.set(waiting as f64);
    }

    /// A connection serves.
    pub(super) fn show_connected(&self) {
        let before = self.connected.fetch_add(1, Ordering::Relaxed);
        self.metrics.writing.set((before + 1) as f64);
        self.book().show_down(None, Instant::now());
        if before == 0 {
            let postgres = self.dial.shown();
            match self.outage.succeeds(Instant::now()) {
                Some(over) => {
                    let (seconds, failures) = (over.seconds(), over.failures);
                    tracing::info!(postgres, seconds, failures, "the archive takes events again");
                }
                None => tracing::info!(postgres, "the archive takes events"),
            }
        }
    }

    /// A connection serves no more.
    pub(super) fn show_disconnected(&self, why: &str) {
        let before = self.connected.fetch_sub(1, Ordering::Relaxed);
        self.metrics.writing.set((before - 1) as f64);
        self.show_unreachable(why);
    }

    /// No connection was made.
    pub(super) fn show_unreachable(&self, why: &str) {
        if self.is_connected() {
            return;
        }
        self.book().show_down(Some(why.to_owned()), Instant::now());
        if self.outage.fails(Instant::now()) {
            tracing::error!("the archive takes no events, so that publishes to archived rooms fail: {why}");
        }
    }

    fn book(&self) -> MutexGuard<'_, WriteBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
