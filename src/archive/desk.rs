//! Where publishers hand in what is to be written, and where the connections that write take it.
//!
//! Owns what waits, and whether the database is reached. Always holds: an outage has one line in the log when it begins and one when it ends.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, oneshot},
    time::timeout_at,
};

use super::{
    book::{Write, WriteBook, WriteJob},
    connection::Dial,
    error::ArchiveError,
    pending_row::RowId,
};
use crate::{metrics::ArchiveMetrics, model::Position};

/// A connection that is free begins beside each that writes when more than so many wait: a statement of many costs both ends much less than
/// many of one, and a flush as much.
const COMPANY: usize = 16;

/// The longest that a write waits for company: those that are under way may be held up.
const MOMENT: Duration = Duration::from_millis(10);

/// A connection that writes, as long as this is there.
pub(super) struct BusyConnection<'a>(&'a AtomicUsize);

impl Drop for BusyConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What waits, and what the connections that write share.
pub(super) struct WriteDesk {
    pub(super) dial: Dial,
    pub(super) metrics: ArchiveMetrics,
    book: Mutex<WriteBook>,
    /// Something waits to be written.
    more: Notify,
    connected: AtomicUsize,
    busy: AtomicUsize,
    /// Whether the log has it that the database is not reached.
    is_told: Mutex<bool>,
}

impl WriteDesk {
    pub(super) fn new(dial: Dial, metrics: ArchiveMetrics) -> Self {
        Self {
            book: Mutex::new(WriteBook::new(dial.timeout(), Instant::now())),
            dial,
            metrics,
            more: Notify::new(),
            connected: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            is_told: Mutex::default(),
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

    /// What a connection writes next, when there is something. While others write, what comes waits for company, and so for the first of
    /// them that is free; no longer than a moment.
    pub(super) async fn next(&self) -> (Vec<WriteJob>, BusyConnection<'_>) {
        let mut until = None;
        loop {
            let waiting = {
                let mut book = self.book();
                let busy = self.busy.load(Ordering::Relaxed);
                let has_waited = until.is_some_and(|until| until <= Instant::now());
                if has_waited || book.waiting() > busy * COMPANY {
                    let jobs = book.take();
                    if book.waiting() > 0 {
                        self.more.notify_one();
                    }
                    if !jobs.is_empty() {
                        self.busy.fetch_add(1, Ordering::Relaxed);
                        return (jobs, BusyConnection(&self.busy));
                    }
                }
                book.waiting()
            };
            if waiting == 0 {
                until = None;
                self.more.notified().await;
            } else {
                let until = *until.get_or_insert_with(|| Instant::now() + MOMENT);
                let _ = timeout_at(until.into(), self.more.notified()).await;
            }
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
            let was_down = std::mem::take(&mut *self.is_told());
            let said = if was_down { "the archive takes events again" } else { "the archive takes events" };
            tracing::info!(postgres = self.dial.shown(), "{said}");
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
        if !std::mem::replace(&mut *self.is_told(), true) {
            tracing::error!("the archive takes no events, so that publishes to archived rooms fail: {why}");
        }
    }

    fn book(&self) -> MutexGuard<'_, WriteBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_told(&self) -> MutexGuard<'_, bool> {
        self.is_told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
