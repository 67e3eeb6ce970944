//! Calls of other threads to the workers: carried out on the workers' threads, between two slices.
//!
//! A call must be short: every connection of that worker waits for it. Always holds: a caller gets an answer from every worker or
//! learns that there is none.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    hub::worker::{
        Worker,
        queues::{ToWorker, WorkerQueues},
        worker_call::WorkerCall,
    },
    model::Order,
};

/// A worker's queue is full, or the pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker of this pod has too much to do to answer")]
pub struct CallError;

impl WorkerQueues {
    /// Asks all workers at once; their answers in the order of the workers.
    ///
    /// # Errors
    /// [`CallError`]: of one of them; others may have done what was asked.
    pub async fn ask_all<T: Send + 'static>(
        &self,
        call: impl Fn(&mut Worker) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, CallError> {
        let asked: Vec<_> = (0..self.workers()).map(|worker| self.ask(worker, call.clone())).collect();
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

    fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        call: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, CallError> {
        let (sender, answer) = oneshot::channel();
        let call = WorkerCall::new(move |worker: &mut Worker| {
            // The caller may have gone.
            let _ = sender.send(call(worker));
        });
        if self.tell_worker(worker, ToWorker::Call(call)) { Ok(answer) } else { Err(CallError) }
    }
}
