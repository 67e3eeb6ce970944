//! Questions that another thread has for the workers: answered on their threads, between two slices.
//!
//! A question must be short: every connection of that worker waits for it. Always holds: a caller gets an answer from every
//! worker or is told that there is none.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::oneshot;

use crate::{
    hub::{ToWorker, Worker, WorkerQueues},
    model::Order,
};

/// Something to do on a worker's thread.
pub struct WorkerCall(Box<dyn FnOnce(&mut Worker) + Send>);

impl WorkerCall {
    /// Something to do.
    pub fn new(question: impl FnOnce(&mut Worker) + Send + 'static) -> Self {
        Self(Box::new(question))
    }

    /// Does it. A panic in it is the caller's, which gets no answer; the worker goes on.
    pub fn put(self, worker: &mut Worker) {
        if catch_unwind(AssertUnwindSafe(|| (self.0)(worker))).is_err() {
            tracing::error!("a call to a worker ended in a panic");
        }
    }
}

impl fmt::Debug for WorkerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerCall(…)")
    }
}

/// A worker's queue is full, or the pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker of this pod has too much to do to answer")]
pub struct CallError;

impl WorkerQueues {
    /// Asks one worker.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        question: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        self.put(worker, question)?.await.map_err(|_| CallError)
    }

    /// Asks all workers at once; their answers in the order of the workers.
    ///
    /// # Errors
    /// [`CallError`]: of one of them; others may have done what was asked.
    pub async fn ask_all<T: Send + 'static>(
        &self,
        question: impl Fn(&mut Worker) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, CallError> {
        let asked: Vec<_> = (0..self.workers()).map(|worker| self.put(worker, question.clone())).collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer?.await.map_err(|_| CallError)?);
        }
        Ok(answers)
    }

    /// Has all workers do what a backend orders; to how many connections. `None`: the one that is meant is not here.
    ///
    /// # Errors
    /// [`CallError`]: some may have done it.
    pub async fn obey(&self, order: Order) -> Result<Option<usize>, CallError> {
        let order = Arc::new(order);
        let done = self.ask_all(move |worker| worker.obey(&order)).await?;
        Ok(done.into_iter().flatten().reduce(|all, some| all + some))
    }

    fn put<T: Send + 'static>(
        &self,
        worker: usize,
        question: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, CallError> {
        let (sender, answer) = oneshot::channel();
        let question = WorkerCall(Box::new(move |worker| {
            // The caller may have gone.
            let _ = sender.send(question(worker));
        }));
        if self.tell_worker(worker, ToWorker::Call(question)) { Ok(answer) } else { Err(CallError) }
    }
}
