//! Finds out which users have no connection in the fleet, and has the backend told.
//!
//! Always holds: one batch at a time is under way, in the order of the publishes; where pods do not say whether a user is there, the
//! backend is told, and told that it is not sure: a note too many is better than none.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{desk::AbsentDesk, whereabouts::Whereabouts};
use crate::{
    hooks::{AbsentError, AbsentEvent},
    hub::worker::services::Services,
};

/// The most events of one call.
const BATCH: usize = 100;

/// What tells.
pub struct AbsentTeller(pub Arc<Services>);

impl AbsentTeller {
    /// Tells, until the pod ends.
    pub async fn run(&self) {
        let Some(desk) = &self.0.absent else { return };
        loop {
            desk.due().await;
            self.tell(desk, desk.take(BATCH, false)).await;
        }
    }

    /// Tells what is left, whether it is due or not, until the moment `by`.
    pub async fn run_last(&self, by: Instant) {
        let Some(desk) = &self.0.absent else { return };
        let rest = async {
            loop {
                let events = desk.take(BATCH, true);
                if events.is_empty() {
                    return;
                }
                self.tell(desk, events).await;
            }
        };
        if tokio::time::timeout_at(by.into(), rest).await.is_err() {
            tracing::warn!("the backend was not told of all events of absent users before the pod ended");
        }
    }

    async fn tell(&self, desk: &AbsentDesk, events: Vec<AbsentEvent>) {
        let users: BTreeSet<&str> = events.iter().map(|event| &*event.user).collect();
        let users: Vec<Box<str>> = users.into_iter().map(Into::into).collect();
        let (there, unsure) = Whereabouts(&self.0).there(users).await;
        let (present, mut absent): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| there.contains(&event.user));
        desk.metrics.present.increment(present.len() as u64);
        let told = desk.hook.tell(&mut absent, unsure, |event| desk.is_to_be_told(event)).await;
        let outcome = match told {
            Ok(()) => &desk.metrics.told,
            Err(AbsentError::Refused(_)) => &desk.metrics.refused,
            Err(AbsentError::Failed(_)) => &desk.metrics.failed,
        };
        outcome.increment(absent.len() as u64);
    }
}
