//! Something that another thread has a worker do, while it waits in the worker's queue.
//!
//! Never names the worker: the queues that carry it are part of what all workers share. Always holds: a panic in it is its
//! caller's, and the worker goes on.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// It is given the worker, whose type this file does not know.
type Act = dyn FnOnce(&mut dyn Any) + Send;

/// Something to do on a worker's thread. It must be short: every connection of that worker waits for it.
pub struct WorkerCall(Box<Act>);

impl WorkerCall {
    /// Something to do with the worker, which is a `W`.
    pub fn new<W: 'static>(act: impl FnOnce(&mut W) + Send + 'static) -> Self {
        Self(Box::new(move |worker| match worker.downcast_mut() {
            Some(worker) => act(worker),
            None => tracing::error!("a call waited in the queue of something that is no worker"),
        }))
    }

    /// Does it. After a panic its caller gets no answer.
    pub fn run(self, worker: &mut dyn Any) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_panics_leaves_the_worker_as_it_is() {
        let mut worker = 1_u32;
        WorkerCall::new(|_: &mut u32| panic!("planted")).run(&mut worker);
        WorkerCall::new(|worker: &mut u32| *worker += 1).run(&mut worker);
        assert_eq!(worker, 2);
    }
}
