//! The publishes that wait for one master, each with the place where its answer is awaited.
//!
//! Never talks to Redis. Always holds: its lock is held for as long as it takes to put an event in or to take some out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{
    append::{AppendAnswer, AppendedEvent},
    batch::WaitingEvents,
};

/// What became of an event in a call with others.
#[derive(Debug)]
pub(super) enum FirstTry {
    Answered(AppendAnswer),
    /// The whole call was refused; nothing was done.
    Refused(String),
    /// It is to be tried alone. `lost`: it may have been published.
    Again {
        lost: bool,
    },
}

/// An event that waits for its call.
#[derive(Debug)]
pub(super) struct QueuedEvent {
    pub(super) event: Arc<AppendedEvent>,
    pub(super) answer: oneshot::Sender<FirstTry>,
}

/// What waits for one master in one lane.
#[derive(Debug)]
pub(super) struct PublishQueue {
    waiting: Mutex<WaitingEvents<QueuedEvent>>,
}

impl PublishQueue {
    pub(super) fn new(most_calls: usize) -> Self {
        Self { waiting: Mutex::new(WaitingEvents::new(most_calls)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WaitingEvents<QueuedEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
