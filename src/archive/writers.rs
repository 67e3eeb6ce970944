//! The connections that write: each takes what waits, all of it together, as soon as it is free.
//!
//! So a write that comes alone goes at once and alone, and many that come at once share a statement, and a flush of the database's log.
//! Always holds: what a connection took and could not write waits again, in front; what the database refuses is refused alone, not with
//! what came beside it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Error};

use super::{
    book::{Write, WriteJob},
    desk::WriteDesk,
    error::ArchiveError,
    failure::{Failure, told},
    pending_row::{PendingRow, RowId},
    statements::Statements,
};
use crate::model::Position;

/// The shortest and the longest time between two attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a connection rests whose server takes nothing now.
const REST: Duration = Duration::from_millis(250);

/// One connection's work, for ever.
pub(super) struct Writer(pub(super) Arc<WriteDesk>);

/// What became of a part of a batch.
enum Written {
    /// All of it was written, or refused and answered.
    Done,
    /// It waits again.
    Again(Vec<WriteJob>, Option<Failure>),
}

impl Writer {
    pub(super) async fn run(self) {
        let mut pause = PAUSE.0;
        loop {
            let opened = async {
                let client = self.0.dial.connect().await.map_err(|error| error.to_string())?;
                let silent = |_| "the server does not answer".to_owned();
                let prepared = timeout(self.0.dial.timeout(), Statements::prepare(&client)).await.map_err(silent)?;
                let statements = prepared.map_err(|error| told(&error))?;
                Ok::<_, String>((client, statements))
            };
            match opened.await {
                Ok((client, statements)) => {
                    pause = PAUSE.0;
                    self.0.show_connected();
                    let why = self.serve(&client, &statements).await;
                    self.0.show_disconnected(&why);
                }
                Err(why) => self.0.show_unreachable(&why),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Writes until the connection is of no use any more; why.
    async fn serve(&self, client: &Client, statements: &Statements) -> String {
        loop {
            let jobs = tokio::select! {
                jobs = self.0.next() => jobs,
                () = closed(client) => return "the connection ended".to_owned(),
            };
            // Known before anything was sent.
            if client.is_closed() {
                self.0.put_back(jobs);
                return "the connection ended".to_owned();
            }
            let (mut pends, mut confirms, mut withdraws) = (Vec::new(), Vec::new(), Vec::new());
            for job in jobs {
                match &job.write {
                    Write::Pend(_) => pends.push(job),
                    Write::Confirm(..) => confirms.push(job),
                    Write::Withdraw { .. } => withdraws.push(job),
                }
            }
            // One after the other on the server, without waiting for answers in between.
            let written = tokio::join!(
                self.pend(client, statements, pends),
                self.confirm(client, statements, confirms),
                self.withdraw(client, statements, withdraws)
            );
            let (mut again, mut failure) = (Vec::new(), None);
            for part in [written.0, written.1, written.2] {
                if let Written::Again(jobs, why) = part {
                    again.extend(jobs);
                    failure = if failure == Some(Failure::Lost) { failure } else { why.or(failure) };
                }
            }
            self.0.put_back(again);
            match failure {
                None => {}
                Some(Failure::Lost) => return "the connection was lost".to_owned(),
                Some(_) => sleep(REST).await,
            }
        }
    }

    async fn pend(&self, client: &Client, statements: &Statements, jobs: Vec<WriteJob>) -> Written {
        if jobs.is_empty() {
            return Written::Done;
        }
        let began = Instant::now();
        let rows: Vec<&PendingRow> = jobs.iter().filter_map(row_of).collect();
        let result = self.within(statements.pend(client, &rows)).await;
        self.0.metrics.pend_seconds.record(began.elapsed());
        match result {
            Ok(()) => {
                jobs.into_iter().for_each(|job| job.answer(Ok(())));
                Written::Done
            }
            Err(Some(error)) if Failure::of(&error) == Failure::Refused && jobs.len() > 1 => {
                self.pend_alone(client, statements, jobs).await
            }
            Err(error) => failed(jobs, error),
        }
    }

    /// Writes each row in a statement of its own: one of them is refused, and the others are not.
    async fn pend_alone(&self, client: &Client, statements: &Statements, jobs: Vec<WriteJob>) -> Written {
        let (mut jobs, mut left) = (jobs.into_iter(), Vec::new());
        while let Some(job) = jobs.next() {
            let Some(row) = row_of(&job) else { continue };
            let result = self.within(statements.pend(client, &[row])).await;
            match result {
                Ok(()) => job.answer(Ok(())),
                Err(Some(error)) if Failure::of(&error) == Failure::Refused => {
                    left.extend(job.refuse(refusal(Some(&error))));
                }
                Err(error) => {
                    left.extend(std::iter::once(job).chain(jobs));
                    return failed(left, error);
                }
            }
        }
        if left.is_empty() { Written::Done } else { Written::Again(left, None) }
    }

    async fn confirm(&self, client: &Client, statements: &Statements, jobs: Vec<WriteJob>) -> Written {
        if jobs.is_empty() {
            return Written::Done;
        }
        let began = Instant::now();
        let rows: Vec<(RowId, &Position)> = jobs.iter().filter_map(position_of).collect();
        let result = self.within(statements.confirm(client, &rows)).await;
        self.0.metrics.confirm_seconds.record(began.elapsed());
        match result {
            Ok(left) => {
                let mut unplaced = Vec::new();
                for job in jobs {
                    let Some((id, position)) = position_of(&job).filter(|(id, _)| left.contains(id)) else {
                        job.answer(Ok(()));
                        continue;
                    };
                    // No publisher is there to ask for the life that it belongs to.
                    if !job.is_heard() {
                        unplaced.push((id, position.clone()));
                    }
                    job.answer(Err(ArchiveError::NoGeneration));
                }
                self.0.put_unplaced(unplaced);
                Written::Done
            }
            // Nothing of a position can be refused for what it is: it waits for better times.
            Err(error) => failed(jobs, error),
        }
    }

    async fn withdraw(&self, client: &Client, statements: &Statements, jobs: Vec<WriteJob>) -> Written {
        if jobs.is_empty() {
            return Written::Done;
        }
        let rows: Vec<(RowId, bool)> = jobs.iter().filter_map(withdrawn_of).collect();
        match self.within(statements.withdraw(client, &rows)).await {
            Ok(gone) => {
                for job in jobs {
                    let is_gone = withdrawn_of(&job).is_some_and(|(row, _)| gone.contains(&row));
                    job.answer(if is_gone { Ok(()) } else { Err(ArchiveError::Unknown) });
                }
                Written::Done
            }
            Err(error) => failed(jobs, error),
        }
    }

    /// The result of a statement; no error: it did not answer in time.
    async fn within<T>(&self, statement: impl Future<Output = Result<T, Error>>) -> Result<T, Option<Error>> {
        // The server itself gives up before.
        match timeout(self.0.dial.timeout() + Duration::from_millis(500), statement).await {
            Ok(result) => result.map_err(Some),
            Err(_) => Err(None),
        }
    }
}

fn row_of(job: &WriteJob) -> Option<&PendingRow> {
    if let Write::Pend(row) = &job.write { Some(row) } else { None }
}

fn position_of(job: &WriteJob) -> Option<(RowId, &Position)> {
    if let Write::Confirm(id, position) = &job.write { Some((*id, position)) } else { None }
}

fn withdrawn_of(job: &WriteJob) -> Option<(RowId, bool)> {
    if let Write::Withdraw { row, even_claimed } = job.write { Some((row, even_claimed)) } else { None }
}

fn refusal(error: Option<&Error>) -> ArchiveError {
    error.map_or(ArchiveError::Unknown, |error| ArchiveError::Unavailable(told(error)))
}

/// What is done with writes whose statement failed.
fn failed(mut jobs: Vec<WriteJob>, error: Option<Error>) -> Written {
    let failure = error.as_ref().map_or(Failure::Lost, Failure::of);
    match failure {
        Failure::Lost => {
            // Also with the error of a server that ends: what waited for its replicas is committed by then.
            jobs.iter_mut().for_each(|job| job.was_sent = true);
            Written::Again(jobs, Some(failure))
        }
        // A publisher need not wait for a disk to have place again.
        Failure::Busy | Failure::Refused => {
            let why = refusal(error.as_ref());
            let (refused, mut again): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| matches!(job.write, Write::Pend(_)));
            again.extend(refused.into_iter().filter_map(|job| job.refuse(why.clone())));
            Written::Again(again, Some(Failure::Busy))
        }
    }
}

/// Waits until the server, or the network, has ended a connection that rests.
async fn closed(client: &Client) {
    while !client.is_closed() {
        sleep(REST).await;
    }
}
