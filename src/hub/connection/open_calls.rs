//! A connection's calls of the backend that have no answer yet.
//!
//! Always holds: what is under way ends with this, so that a connection that has gone leaves no call behind.

use tokio::task::AbortHandle;

/// The calls that are under way.
#[derive(Debug, Default)]
pub struct OpenCalls {
    tasks: Vec<(u64, AbortHandle)>,
    serial: u64,
}

impl OpenCalls {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The number of the next call.
    pub fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A call has begun.
    pub fn began(&mut self, serial: u64, task: AbortHandle) {
        self.tasks.push((serial, task));
    }

    /// A call has its answer.
    pub fn ended(&mut self, serial: u64) {
        self.tasks.retain(|(other, _)| *other != serial);
    }
}

impl Drop for OpenCalls {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_no_answer_ends_with_its_connection() {
        let (mut calls, mut tasks) = (OpenCalls::default(), Vec::new());
        for _ in 0..3 {
            let serial = calls.next();
            let task = tokio::spawn(std::future::pending::<()>());
            calls.began(serial, task.abort_handle());
            tasks.push((serial, task));
        }
        calls.ended(tasks[1].0);
        assert_eq!(calls.len(), 2);
        drop(calls);
        let (_, last) = tasks.pop().unwrap();
        assert!(last.await.unwrap_err().is_cancelled());
        assert!(!tasks[1].1.is_finished(), "one that had its answer is left alone");
        assert!(tasks.swap_remove(0).1.await.unwrap_err().is_cancelled());
        tasks[0].1.abort();
    }
}
