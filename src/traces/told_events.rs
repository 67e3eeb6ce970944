//! Events whose publishes are traced, of which the other pods are to be told. Full: the newest is left out, and its fan-outs there have no
//! span.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::model::TracedEvent;

/// The most that wait, and so the most of one message.
pub(super) const MOST: usize = 500;

/// How long they wait for others.
const GATHERED_FOR: Duration = Duration::from_millis(100);

/// The events of which the others were not told yet.
#[derive(Debug, Default)]
pub(super) struct ToldEvents {
    waiting: Mutex<Vec<TracedEvent>>,
    activity: Notify,
}

impl ToldEvents {
    /// Hands one in. `false`: there is no place for it.
    pub(super) fn add(&self, event: TracedEvent) -> bool {
        let mut waiting = self.lock();
        let has_place = waiting.len() < MOST;
        if has_place {
            waiting.push(event);
        }
        drop(waiting);
        self.activity.notify_one();
        has_place
    }

    /// Those that wait, once there are any, and what comes soon after.
    pub(super) async fn gathered(&self) -> Vec<TracedEvent> {
        while self.lock().is_empty() {
            self.activity.notified().await;
        }
        tokio::time::sleep(GATHERED_FOR).await;
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TracedEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
