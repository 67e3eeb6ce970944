//! This pod's questions to the fleet that wait for answers.
//!
//! No I/O. Always holds: a question that is dropped waits no longer; the number of those that wait, and of the answers to
//! each, is bounded.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::broker::{BrokerError, FleetAnswer};

/// The most questions of this pod that wait for answers at once.
const MOST_QUESTIONS: usize = 1_024;

/// The most questions of other pods that are answered at once. Further ones are not answered.
pub(super) const MOST_ANSWERS: usize = 1_024;

/// The most answers to one question that wait to be read.
const MOST_WAITING: usize = 1_024;

#[derive(Debug, Default)]
struct OpenQuestions {
    last: u64,
    waiting: HashMap<u64, Sender<(String, FleetAnswer)>>,
}

/// This pod's questions that wait for answers.
#[derive(Debug, Default)]
pub(super) struct FleetQuestions(Mutex<OpenQuestions>);

/// A question that waits for answers until this is dropped.
pub(super) struct WaitingQuestion<'a> {
    questions: &'a FleetQuestions,
    pub(super) number: u64,
    pub(super) answers: Receiver<(String, FleetAnswer)>,
}

impl FleetQuestions {
    fn lock(&self) -> std::sync::MutexGuard<'_, OpenQuestions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> Result<WaitingQuestion<'_>, BrokerError> {
        let mut open = self.lock();
        if open.waiting.len() >= MOST_QUESTIONS {
            return Err(BrokerError::Unavailable("too many questions to other pods wait for answers".to_owned()));
        }
        let (sender, answers) = channel(MOST_WAITING);
        open.last += 1;
        let number = open.last;
        open.waiting.insert(number, sender);
        Ok(WaitingQuestion { questions: self, number, answers })
    }

    /// Hands an answer to its question. One that comes too late, or does not fit, is dropped: its pod counts as silent.
    pub(super) fn answered(&self, question: u64, from: String, said: FleetAnswer) {
        if let Some(sender) = self.lock().waiting.get(&question) {
            let _ = sender.try_send((from, said));
        }
    }
}

impl Drop for WaitingQuestion<'_> {
    fn drop(&mut self) {
        self.questions.lock().waiting.remove(&self.number);
    }
}
