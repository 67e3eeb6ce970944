//! What waits to be written, in this order: rows that become pending, positions that confirm them, rows that are taken back.
//!
//! Pure: it is told the time. Always holds: what waits is bounded, in number and bytes; each write that has a publisher waiting is answered
//! once, at the latest when its time is over; a confirmation outlives its publisher, so that an outage leaves nothing for the repair
//! that this pod knows.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    error::ArchiveError,
    pending_row::{PendingRow, RowId},
};
use crate::model::Position;

/// The most writes with a publisher that wait, and their bytes.
const MOST_WAITING: usize = 16_384;
const MOST_BYTES: usize = 64 << 20;

/// The most writes without a publisher. Beyond them those that come are left to the repair.
const MOST_PATIENT: usize = 65_536;

/// The most writes that leave together, and their bytes.
const A_BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// What is written.
#[derive(Debug)]
pub(super) enum Write {
    /// A row becomes pending.
    Pend(Box<PendingRow>),
    /// It gets its position.
    Confirm(RowId, Position),
    /// It goes: nothing was published. One that a pod looks after, which may be publishing it, goes only where that pod says so.
    Withdraw { row: RowId, even_claimed: bool },
}

/// Tells a publisher what became of its write.
pub(super) type WriteAnswer = oneshot::Sender<Result<(), ArchiveError>>;

/// A write that waits.
#[derive(Debug)]
pub(super) struct WriteJob {
    pub(super) write: Write,
    /// `None`: no publisher waits for it.
    waiting: Option<(WriteAnswer, Instant)>,
    /// It may have been written already.
    pub(super) was_sent: bool,
}

impl WriteJob {
    fn patient(write: Write) -> Self {
        Self { write, waiting: None, was_sent: false }
    }

    /// The database refuses a row. Nothing was done this time; what was sent before may have been done. What is left to be written.
    pub(super) fn refuse(self, why: ArchiveError) -> Option<Self> {
        let left = match &self.write {
            Write::Pend(row) if self.was_sent => Some(Write::Withdraw { row: row.id, even_claimed: false }),
            _ => None,
        };
        self.answer(Err(if left.is_some() { ArchiveError::Unknown } else { why }));
        left.map(Self::patient)
    }

    /// Answers its publisher.
    pub(super) fn answer(self, result: Result<(), ArchiveError>) {
        if let Some((answer, _)) = self.waiting {
            // A publisher that is gone needs none.
            let _ = answer.send(result);
        }
    }

    /// Whether a publisher waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether a publisher waits that is still there.
    pub(super) fn is_heard(&self) -> bool {
        self.waiting.as_ref().is_some_and(|(answer, _)| !answer.is_closed())
    }

    fn bytes(&self) -> usize {
        match &self.write {
            Write::Pend(row) => row.bytes(),
            Write::Confirm(..) | Write::Withdraw { .. } => 100,
        }
    }
}

/// All that waits.
#[derive(Debug)]
pub(super) struct WriteBook {
    jobs: VecDeque<WriteJob>,
    bytes: usize,
    patient: usize,
    /// Positions of epochs of which the archive has no life yet.
    unplaced: Vec<(RowId, Position)>,
    /// Since when no connection serves, and why.
    down: Option<(Instant, String)>,
    /// How long a write may wait.
    timeout: Duration,
}

impl WriteBook {
    pub(super) fn new(timeout: Duration, now: Instant) -> Self {
        let down = Some((now, "it was not reached yet".to_owned()));
        Self { jobs: VecDeque::new(), bytes: 0, patient: 0, unplaced: Vec::new(), down, timeout }
    }

    /// How many writes wait.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Takes a write in for a publisher that waits.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: too many wait, or the database has been down for as long as a write may wait.
    pub(super) fn push(&mut self, write: Write, answer: WriteAnswer, now: Instant) -> Result<(), ArchiveError> {
        let job = WriteJob { write, waiting: Some((answer, now + self.timeout)), was_sent: false };
        if let Some((since, why)) = &self.down
            && now.duration_since(*since) >= self.timeout
            && matches!(job.write, Write::Pend(_))
        {
            return Err(ArchiveError::Unavailable(why.clone()));
        }
        if self.jobs.len() - self.patient >= MOST_WAITING || self.bytes + job.bytes() > MOST_BYTES {
            return Err(ArchiveError::Unavailable("too many events wait for it".to_owned()));
        }
        self.bytes += job.bytes();
        self.jobs.push_back(job);
        Ok(())
    }

    /// Takes a write in that no publisher waits for. Whether there is place for it.
    pub(super) fn push_patient(&mut self, write: Write) -> bool {
        if self.patient >= MOST_PATIENT {
            return false;
        }
        let job = WriteJob::patient(write);
        self.bytes += job.bytes();
        self.patient += 1;
        self.jobs.push_back(job);
        true
    }

    /// Takes in positions that no publisher waits for any more, and of whose epochs the archive has no life yet. Beyond the bound they are
    /// left to the repair.
    pub(super) fn put_unplaced(&mut self, some: impl IntoIterator<Item = (RowId, Position)>) {
        let places = MOST_PATIENT - self.unplaced.len();
        self.unplaced.extend(some.into_iter().take(places));
    }

    /// Some of them.
    pub(super) fn take_unplaced(&mut self, most: usize) -> Vec<(RowId, Position)> {
        self.unplaced.split_off(self.unplaced.len().saturating_sub(most))
    }

    /// What leaves next, together.
    pub(super) fn take(&mut self) -> Vec<WriteJob> {
        let mut bytes = 0;
        let fits = |job: &&WriteJob| {
            bytes += job.bytes();
            bytes <= BATCH_BYTES
        };
        // One that is larger than a batch leaves alone.
        let count = self.jobs.iter().take(A_BATCH).take_while(fits).count().max(1).min(self.jobs.len());
        let taken: Vec<WriteJob> = self.jobs.drain(..count).collect();
        for job in &taken {
            self.bytes -= job.bytes();
            self.patient -= usize::from(!job.is_awaited());
        }
        taken
    }

    /// Takes back what was not written. Before all else that waits.
    pub(super) fn put_back(&mut self, jobs: Vec<WriteJob>) {
        for job in jobs.into_iter().rev() {
            self.bytes += job.bytes();
            self.patient += usize::from(!job.is_awaited());
            self.jobs.push_front(job);
        }
    }

    /// No connection serves, or one does.
    pub(super) fn show_down(&mut self, why: Option<String>, now: Instant) {
        self.down = why.map(|why| (self.down.as_ref().map_or(now, |(since, _)| *since), why));
    }

    /// Why no connection serves, if it is so.
    pub(super) fn down(&self) -> Option<&str> {
        self.down.as_ref().map(|(_, why)| &**why)
    }

    /// Answers the publishers that have waited long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_due = |job: &WriteJob| job.waiting.as_ref().is_some_and(|(_, until)| *until <= now);
        if !self.jobs.iter().any(is_due) {
            return;
        }
        let why = self.down().unwrap_or("it is too slow").to_owned();
        for mut job in std::mem::take(&mut self.jobs) {
            if !is_due(&job) {
                self.jobs.push_back(job);
                continue;
            }
            self.bytes -= job.bytes();
            let Some((answer, _)) = job.waiting.take() else { continue };
            let (result, left) = match job.write {
                // What was never sent is not there.
                Write::Pend(_) if !job.was_sent => (Err(ArchiveError::Unavailable(why.clone())), None),
                Write::Pend(row) => {
                    (Err(ArchiveError::Unknown), Some(Write::Withdraw { row: row.id, even_claimed: false }))
                }
                other => (Err(ArchiveError::Unknown), Some(other)),
            };
            let _ = answer.send(result);
            if let Some(left) = left {
                self.push_patient(left);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Epoch, Room};

    fn row(id: u8, bytes: usize) -> Write {
        Write::Pend(Box::new(PendingRow {
            id: [id; 16],
            room: Room::parse("chat:1").unwrap(),
            side: "b",
            key: "k".into(),
            hash: [0; 6],
            topic: "t".into(),
            event_key: None,
            event_id: None,
            author: None,
            is_binary: false,
            data: vec![b'1'; bytes],
            seal: None,
        }))
    }

    fn confirm(id: u8) -> Write {
        Write::Confirm([id; 16], Position::new(Epoch::new("e"), 7))
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn book(now: Instant) -> WriteBook {
        let mut book = WriteBook::new(5 * SECOND, now);
        book.show_down(None, now);
        book
    }

    #[test]
    fn what_waits_leaves_together_within_bounds() {
        let now = Instant::now();
        let mut book = book(now);
        let push = |book: &mut WriteBook, write| book.push(write, oneshot::channel().0, now);
        for id in 0..200 {
            push(&mut book, row(id, 10_000)).unwrap();
        }
        let first = book.take();
        assert!((90..110).contains(&first.len()), "{}", first.len());
        book.put_back(first);
        assert!(matches!(&book.take()[0].write, Write::Pend(row) if row.id == [0; 16]), "the order stays");
        while !book.take().is_empty() {}
        assert_eq!(book.bytes, 0);
        push(&mut book, row(1, 2 << 20)).unwrap();
        assert_eq!(book.take().len(), 1, "one that is larger than a batch leaves alone");
        let refused = push(&mut book, row(1, MOST_BYTES));
        assert!(matches!(refused, Err(ArchiveError::Unavailable(_))));
        while push(&mut book, confirm(1)).is_ok() {}
        assert_eq!(book.waiting(), MOST_WAITING);
        assert!(book.push_patient(confirm(2)), "what no publisher waits for has places of its own");
    }

    #[test]
    fn whoever_waits_too_long_is_told_what_is_true() {
        let now = Instant::now();
        let mut book = book(now);
        let mut answers = Vec::new();
        for (write, sent) in [(row(1, 5), false), (row(2, 5), true), (confirm(3), true)] {
            let (answer, told) = oneshot::channel();
            book.push(write, answer, now).unwrap();
            book.jobs.back_mut().unwrap().was_sent = sent;
            answers.push(told);
        }
        book.expire(now + 4 * SECOND);
        assert!(answers.iter_mut().all(|told| told.try_recv().is_err()));
        book.expire(now + 5 * SECOND);
        let said: Vec<_> = answers.iter_mut().map(|told| told.try_recv().unwrap().unwrap_err()).collect();
        assert!(matches!(said[0], ArchiveError::Unavailable(_)), "nothing was sent");
        assert_eq!(said[1..], [ArchiveError::Unknown, ArchiveError::Unknown]);
        let left: Vec<_> = book.take().into_iter().map(|job| format!("{:?}", job.write)).collect();
        assert!(left.len() == 2 && left.iter().any(|write| write.starts_with("Withdraw { row: [2,")), "{left:?}");
        assert!(left.iter().any(|write| write.starts_with("Confirm([3,")), "{left:?}");
        assert_eq!((book.bytes, book.patient), (0, 0));
    }

    #[test]
    fn a_row_that_is_refused_may_be_there_if_it_was_sent_before() {
        let (now, why) = (Instant::now(), ArchiveError::Unavailable("full".to_owned()));
        let mut book = book(now);
        let mut answers = [(); 2].map(|()| {
            let (answer, told) = oneshot::channel();
            book.push(row(1, 5), answer, now).unwrap();
            told
        });
        let mut jobs = book.take();
        jobs[1].was_sent = true;
        let left: Vec<_> = jobs.into_iter().filter_map(|job| job.refuse(why.clone())).collect();
        assert_eq!(answers.each_mut().map(|told| told.try_recv().unwrap()), [Err(why), Err(ArchiveError::Unknown)]);
        assert!(matches!(&left[..], [job] if matches!(job.write, Write::Withdraw { even_claimed: false, .. })));
    }

    #[test]
    fn positions_without_a_life_wait_within_a_bound() {
        let mut book = book(Instant::now());
        let position = Position::new(Epoch::new("e"), 7);
        book.put_unplaced((0..=MOST_PATIENT).map(|_| ([1; 16], position.clone())));
        assert_eq!((book.take_unplaced(5).len(), book.unplaced.len()), (5, MOST_PATIENT - 5));
        assert_eq!((book.take_unplaced(usize::MAX).len(), book.take_unplaced(5).len()), (MOST_PATIENT - 5, 0));
    }

    #[test]
    fn a_database_that_is_long_down_refuses_at_once() {
        let now = Instant::now();
        let mut book = book(now);
        book.show_down(Some("no route".to_owned()), now);
        assert!(book.push(row(1, 1), oneshot::channel().0, now + 4 * SECOND).is_ok(), "it may be back in time");
        book.show_down(Some("refused".to_owned()), now + 4 * SECOND);
        let later = now + 6 * SECOND;
        assert_eq!(
            book.push(row(2, 1), oneshot::channel().0, later),
            Err(ArchiveError::Unavailable("refused".to_owned()))
        );
        assert!(book.push(confirm(1), oneshot::channel().0, later).is_ok(), "it is published already");
        book.show_down(None, later);
        assert!(book.push(row(2, 1), oneshot::channel().0, later).is_ok());
    }
}
