//! Where publishes of this pod hand in what the backend may have to be told.
//!
//! Never waits and never asks. Always holds: only rooms whose policy says so are looked at, and of an event's data nothing is kept
//! unless the configuration says so.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::drops_oldest::DropsOldest;
use crate::{
    config::{HookSettings, PersonalRoom, Policies},
    hooks::{AbsentEvent, AbsentHook},
    hub::worker::clock::{millis, unix_millis},
    metrics::AbsentMetrics,
    model::{DELETED, Epoch, Payload, Position, Publication, Room},
};

/// The most bytes of an event's data that are told.
const MAX_DATA: usize = 2_048;

/// Events of personal rooms, until it is known whether their users are there.
pub struct AbsentDesk {
    pub(super) hook: AbsentHook,
    pub(super) metrics: AbsentMetrics,
    queue: Mutex<DropsOldest<AbsentEvent>>,
    /// The users of the batch that is under way, but those that were forgotten since.
    under_way: Mutex<BTreeSet<Box<str>>>,
    activity: Notify,
    policies: Arc<ArcSwap<Policies>>,
    personal_room: PersonalRoom,
    after_ms: u64,
    with_data: bool,
    began: Instant,
}

impl AbsentDesk {
    /// A desk as the settings say it.
    #[must_use]
    pub fn new(
        hook: AbsentHook,
        settings: &HookSettings,
        personal_room: PersonalRoom,
        policies: Arc<ArcSwap<Policies>>,
        metrics: AbsentMetrics,
    ) -> Self {
        Self {
            hook,
            metrics,
            queue: Mutex::new(DropsOldest::new(settings.absent_queue)),
            under_way: Mutex::default(),
            activity: Notify::new(),
            policies,
            personal_room,
            after_ms: millis(settings.absent_after),
            with_data: settings.absent_data,
            began: Instant::now(),
        }
    }

    /// What the backend is told of a publication, should its user be away. Its position is not known yet. `None`: it is never told.
    pub(super) fn note(&self, room: &Room, publication: &Publication) -> Option<AbsentEvent> {
        let user = self.personal_room.user_of(room)?;
        // What tells of a deleted event is nothing to wake a phone for.
        if *publication.topic == *DELETED || !self.policies.load().of(room).absent_hook {
            return None;
        }
        let Publication { topic, key, payload, id, .. } = publication;
        let bytes = match payload {
            Payload::Json(data) => data.get().len(),
            Payload::Binary(bytes) => bytes.len(),
        };
        Some(AbsentEvent {
            user: user.into(),
            room: room.clone(),
            topic: topic.clone(),
            id: id.clone(),
            key: key.clone(),
            data: (self.with_data && bytes <= MAX_DATA).then(|| payload.clone()),
            time: unix_millis(),
            position: Position::new(Epoch::none(), 0),
        })
    }

    /// An event was published.
    pub(super) fn add(&self, event: AbsentEvent, position: &Position) {
        let due_ms = self.now_ms() + self.after_ms;
        let mut queue = self.queue();
        if queue.push(due_ms, AbsentEvent { position: position.clone(), ..event }) {
            self.metrics.dropped.increment(1);
        }
        self.show(queue.len());
        drop(queue);
        self.activity.notify_one();
    }

    /// Waits until there is something to be looked at.
    pub(super) async fn due(&self) {
        loop {
            let next = self.queue().next_due();
            match next.map(|due_ms| due_ms.saturating_sub(self.now_ms())) {
                None => self.activity.notified().await,
                Some(0) => return,
                // What comes meanwhile is due later.
                Some(left) => tokio::time::sleep(Duration::from_millis(left)).await,
            }
        }
    }

    /// Takes what is due, or anything, if it is the last time. That is under way until the next is taken.
    pub(super) fn take(&self, most: usize, is_last: bool) -> Vec<AbsentEvent> {
        let now_ms = if is_last { u64::MAX } else { self.now_ms() };
        let mut queue = self.queue();
        let due = queue.take(now_ms, most);
        *self.under_way() = due.iter().map(|event| event.user.clone()).collect();
        self.show(queue.len());
        due
    }

    /// Whether an event of the batch that is under way is still to be told: its user was not forgotten.
    pub(super) fn is_to_be_told(&self, event: &AbsentEvent) -> bool {
        self.under_way().contains(&event.user)
    }

    /// Nothing of this user is told any more, but what the backend is just being sent.
    pub fn forget(&self, user: &str) {
        let mut queue = self.queue();
        queue.retain(|event| *event.user != *user);
        self.under_way().remove(user);
        self.show(queue.len());
    }

    fn show(&self, waiting: usize) {
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        self.metrics.waiting.set(waiting as f64);
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, DropsOldest<AbsentEvent>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
